"""The bare script that the bot is raced against: ccxt.pro as its examples use it, no bot.

    python -m tools.bench.live_bare --origin http://127.0.0.1:9000 --timeframe 1s --seconds 60

It watches best bids and asks and the bars of one instrument; at each closed bar it places one order on each side, as a
grid of one rung does: both in one request, or with ``--websocket`` each in a message of its own over ccxt's socket for
orders, both at once; with ``--long-only`` the buy alone. With ``--cancels`` it also cancels those of the bar before:
as in a grid these go first, and no order waits for their answer. It has no journal, no gate and no
account, and its limiter is off. ccxt's unified candles do not say whether a bar has closed, so the handler looks at the
raw flag: that is the earliest moment at which such a script can know.
"""

import argparse
import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import ccxt.pro

from tools.rehearsal.processes import KEY

SECRET: Final = "standin-secret"  # noqa: S105 - opens nothing but a stand-in
SYMBOL: Final = "BTC/USDT:USDT"
AMOUNT: Final = 0.01
STEP: Final = 0.01
SIDES: Final = (("buy", "LONG", 1 - STEP), ("sell", "SHORT", 1 + STEP))


class Watched(ccxt.pro.binanceusdm):  # type: ignore[misc]  # ccxt ships no types
    """ccxt's exchange, which also counts the bars that have closed."""

    closed = 0

    def handle_ohlcv(self, client: Any, message: Any) -> None:  # noqa: ANN401 - ccxt's own types
        """Note a closed bar before ccxt hands the candle on."""
        if message["k"]["x"]:
            self.closed += 1
        super().handle_ohlcv(client, message)


def exchange(origin: str) -> Watched:
    """Make ccxt's exchange with every address at ``origin``."""
    made = Watched(
        {
            "apiKey": KEY,
            "secret": SECRET,
            "enableRateLimit": False,
            "options": {"fetchCurrencies": False},
        }
    )
    api = made.urls["api"]
    for section in ("Public", "Private"):
        for version in ("", "V2", "V3"):
            api[f"fapi{section}{version}"] = f"{origin}/fapi/v{version.removeprefix('V') or '1'}"
    sockets = "ws" + origin.removeprefix("http")
    api["ws"]["linear"] = f"{sockets}/ws"
    api["ws"]["ws-api"]["linear"] = f"{sockets}/ws-fapi/v1"
    return made


async def quotes(one: Watched) -> None:
    """Watch the best bids and asks for ever."""
    while True:
        await one.watch_bids_asks([SYMBOL])


async def placed(one: Watched, wanted: Sequence[dict[str, Any]], *, websocket: bool) -> list[dict[str, Any]]:
    """Place orders, and give ccxt's answers."""
    if websocket:
        return list(await asyncio.gather(*(one.create_order_ws(**each) for each in wanted)))
    if len(wanted) == 1:
        return [await one.create_order(**wanted[0])]
    answers: list[dict[str, Any]] = await one.create_orders(wanted)
    return answers


async def cancelled(one: Watched, order_ids: Sequence[str], *, websocket: bool) -> None:
    """Cancel orders, if there are any."""
    if order_ids and websocket:
        await asyncio.gather(*(one.cancel_order_ws(order_id, SYMBOL) for order_id in order_ids))
    elif order_ids:
        await one.cancel_orders(order_ids, SYMBOL)


async def bars(one: Watched, given: argparse.Namespace) -> None:
    """Watch the bars for ever, and trade at each that has closed."""
    traded = one.closed
    resting: list[str] = []
    while True:
        candles = await one.watch_ohlcv(SYMBOL, given.timeframe)
        if one.closed == traded:
            continue
        traded, close = one.closed, candles[-1][4]
        wanted = [
            {
                "symbol": SYMBOL,
                "type": "limit",
                "side": side,
                "amount": AMOUNT,
                "price": one.price_to_precision(SYMBOL, close * away),
                "params": {"positionSide": leg, "timeInForce": "GTX"},
            }
            for side, leg, away in (SIDES[:1] if given.long_only else SIDES)
        ]
        placing = placed(one, wanted, websocket=given.websocket)
        if given.cancels and resting:
            _, orders = await asyncio.gather(cancelled(one, resting, websocket=given.websocket), placing)
        else:
            orders = await placing
        resting = [order["id"] for order in orders]


async def trade(given: argparse.Namespace) -> None:
    """Run the script for a while, and take away what rests at the end."""
    one = exchange(given.origin)
    try:
        await one.load_markets()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(given.seconds), asyncio.TaskGroup() as tasks:
                tasks.create_task(quotes(one))
                tasks.create_task(bars(one, given))
        await one.cancel_all_orders(SYMBOL)
    finally:
        await one.close()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--origin", required=True, help="the stand-in's origin")
    parser.add_argument("--timeframe", default="1s", help="length of a bar")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long it trades")
    parser.add_argument("--long-only", action="store_true", help="place the buy alone")
    parser.add_argument("--cancels", action="store_true", help="cancel the orders of the bar before")
    parser.add_argument("--websocket", action="store_true", help="send orders over the socket for orders")
    asyncio.run(trade(parser.parse_args(argv)))


if __name__ == "__main__":
    main()
