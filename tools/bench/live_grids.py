"""The accounts that the live bench lets the bot trade.

Invariant: no limit of the account is what is measured: each is far above what its grid can reach.
"""

from collections.abc import Sequence
from typing import Final

SYMBOLS: Final = ("BTC", "ETH", "SOL", "BNB", "XRP", "DOGE", "ADA", "LINK", "AVAX", "LTC")

_ACCOUNT: Final = """
[account]
name = "bench"
mode = "testnet"

[venue]
environment = "testnet"
api_key = { env = "BINANCE_KEY" }
api_secret = { env = "BINANCE_SECRET" }
leverage = 20
order_channel = "%(channel)s"

[ops]
control_token = { env = "HEDGEGRID_CONTROL_TOKEN" }

[watchdog]
feed_stale_ms = 10000
max_loop_lag_ms = 2000

[risk]
max_orders_per_minute = 1200
max_order_notional_quote = 1000000
max_notional_per_leg_quote = 50000000
max_gross_notional_quote = 100000000
max_net_notional_quote = 50000000
max_leverage = 20
max_open_orders_per_leg = 200
cancel_budget_ratio = 0.3
[risk.var]
max_ratio = 1
[risk.drawdown]
enabled = false
[risk.daily_loss]
enabled = false
[risk.session_loss]
enabled = false
[risk.circuit_breaker]
enabled = false
[risk.volatility_halt]
enabled = false
"""

_GRID: Final = """
[[grid]]
instrument = "%(base)s/USDT:USDT"
timeframe = "%(timeframe)s"
max_position_qty = 1000000
[grid.ladder]
step_bps = %(step_bps)s
levels_long = %(levels)d
levels_short = %(levels)d
base_quote = %(quote)d
recenter_trigger_bps = %(trigger_bps)s
max_inventory_quote = 1000000
[grid.exit]
max_stop_orders = 4
[grid.execution]
retry_attempts = 0
[grid.policy]
name = "both"
"""


def _account(channel: str) -> str:
    return _ACCOUNT % {"channel": channel}


def every_bar(channel: str) -> str:
    """One rung on each side, far from the price, that moves with every bar: two orders a bar, and none fills."""
    grid = {"base": "BTC", "timeframe": "1s", "step_bps": 100, "levels": 1, "quote": 1000, "trigger_bps": "0.01"}
    return _account(channel) + _GRID % grid


def refill(channel: str) -> str:
    """One rung on each side, far from the price, that stays where it is: what the exchange ends is placed anew."""
    grid = {"base": "BTC", "timeframe": "1s", "step_bps": 100, "levels": 1, "quote": 1000, "trigger_bps": 400}
    return _account(channel) + _GRID % grid


def many(bases: Sequence[str]) -> str:
    """A ladder of six rungs a side for each instrument, on bars of a minute."""
    grid = {"timeframe": "1m", "step_bps": 12, "levels": 6, "quote": 500, "trigger_bps": 40}
    return _account("rest") + "".join(_GRID % (grid | {"base": base}) for base in bases)


def restless() -> str:
    """A narrow ladder on bars of a second, in a market that runs a hundred times as fast as a real one."""
    grid = {"base": "BTC", "timeframe": "1s", "step_bps": 6, "levels": 4, "quote": 1000, "trigger_bps": 60}
    return _account("rest") + _GRID % grid
