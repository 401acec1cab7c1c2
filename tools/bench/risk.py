"""What the risk gate costs an order, interpreted and compiled: `python -m tools.bench.risk [--rounds 9]` prints JSON.

Accounts of 1, 3 and 10 instruments, each leg with a position and 30 resting entries. An order is one of: an entry that
passes, one that each of a few controls refuses, a reducing one that passes, and one that does not. Figures are medians
of the rounds, in nanoseconds of processor time an order:

- `actor`: what the risk actor does for it, from the request to the approval or the refusal in words, reserved;
- `interpreted`: the core alone: the check, and where it passes the reservation and the account's sums after it;
- `compiled`: the same in machine code, as the backtest does it.

`share_of_limit` is the slowest of them beside what the project promises: 50 us interpreted, 100 ns compiled.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np

from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.actors.risk_gate import Gate, OrderPace
from hedgegrid.backtest.twins import compiled
from hedgegrid.backtesting import cache_folder
from hedgegrid.config.load import loads
from hedgegrid.config.params import instrument_of, instrument_risks, risk_limits
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core import gate_book, permission, risk, worst_case
from hedgegrid.core.client_id import client_id
from hedgegrid.core.records import pack
from hedgegrid.messages.events import Approved, EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.account import Balance
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.units import CASH_SCALE

Json = dict[str, Any]

INSTRUMENTS = (1, 3, 10)
ENTRIES = 30
NOW_NS = 1_700_000_000_000_000_000
MARK = 1_000_000
ACTOR_ORDERS = 200
INTERPRETED_ORDERS = 2_000
COMPILED_ORDERS = 200_000
INTERPRETED_NS_MAX = 50_000
COMPILED_NS_MAX = 100
ACTIVE = permission.PermissionState(resume_after_ns=0, started=True, hydrated=True, warm=True)

GRID = """
[[grid]]
instrument = "{name}"
timeframe = "1m"
max_position_qty = 1000
[grid.ladder]
base_qty = 0.01
"""
RULES = """
[sim.instrument."{name}"]
tick = 0.1
lot = 0.001
tiers = [{tiers}]
"""
TIER = "{{ max_notional_quote = {most}, maintenance_margin_ratio = 0.{ratio:03} }}"


def configured(count: int, **limits: str) -> AccountConfig:
    """Settings of some instruments with ten margin tiers each, and limits that nothing meets but those given."""
    names = [f"A{place}/USDT:USDT" for place in range(count)]
    tiers = ", ".join(TIER.format(most=1_000_000 * 2**step, ratio=4 + step) for step in range(10))
    wide = {
        **dict.fromkeys(("max_order_notional_quote", "max_notional_per_leg_quote"), "1000000000"),
        **dict.fromkeys(("max_gross_notional_quote", "max_net_notional_quote"), "1000000000"),
        "max_leverage": "20",
        "max_open_orders_per_leg": "1000",
        "var.max_ratio": "1",
        **limits,
    }
    text = '[account]\nname = "bench"\nwallet_quote = 10000000\n[sim]\nmarket = "recorded"\n[venue]\nleverage = 20\n'
    text += "[risk]\n" + "".join(f"{name} = {value}\n" for name, value in wide.items())
    return loads(text + "".join(RULES.format(name=n, tiers=tiers) + GRID.format(name=n) for n in names), "bench")


def request(instrument: str, leg: Leg, purpose: Purpose, level: int, number: int, qty_lots: int = 10) -> OrderRequest:
    """An order on a rung of a ladder around the mark."""
    sign = -1 if (leg is Leg.LONG) == (purpose is Purpose.ENTRY) else 1
    name = client_id(account="bench", epoch=1, leg=leg, purpose=purpose, level=level, sequence=number)
    return OrderRequest(
        client_id=name,
        instrument=instrument,
        leg=leg,
        purpose=purpose,
        kind=Kind.LIMIT,
        price_ticks=MARK + sign * 1_000 * level,
        qty_lots=qty_lots,
        post_only=True,
        close_all=False,
        level=level,
        generation=1,
        covers=(),
        decided_ns=NOW_NS,
    )


class Account:
    """A book full of resting entries, and the gate over it."""

    def __init__(self, count: int, **limits: str) -> None:
        """Fill the book."""
        config = configured(count, **limits)
        instruments = [instrument_of(config, grid.instrument) for grid in config.grid]
        rules = instrument_risks(config, instruments)
        self.names = [one.name for one in instruments]
        self.limits = risk_limits(config)
        # The clock stands still here: all orders are of one minute.
        self.limits.max_orders_per_minute = 10**9
        self.book = RiskBook(instruments, rules, self.limits)
        self.book.set_balance(Balance(wallet_e8=10**7 * CASH_SCALE, realised_e8=0, fees_e8=0, funding_e8=0), NOW_NS)
        clock = VirtualClock(NOW_NS)
        self.gate = Gate(self.book, instruments, self.limits, "bench", clock, OrderPace())
        number = 0
        for index, name in enumerate(self.names):
            rule = rules[index]
            rule.bid_ticks = rule.ask_ticks = MARK
            rule.quote_ns, rule.var_ppm = NOW_NS, 30_000
            self.book.set_mark(index, MARK, NOW_NS)
            for leg in Leg:
                self.book.exposures[2 * index + leg].position_lots = 200
                for level in range(1, ENTRIES + 1):
                    number += 1
                    self.book.reserve(self.book.candidate(request(name, leg, Purpose.ENTRY, level, number)))
            self.book.recount(index)
        self.book.refresh()
        self.number = number + 1

    def order(self, case: str) -> OrderRequest:
        """The order of a case, of the last instrument."""
        if case == "duplicate":
            return request(self.names[-1], Leg.SHORT, Purpose.ENTRY, ENTRIES, self.number)
        if case == "reducing":
            return request(self.names[-1], Leg.LONG, Purpose.TAKE_PROFIT, 1, self.number)
        if case == "reduce_only_proof":
            return request(self.names[-1], Leg.LONG, Purpose.TAKE_PROFIT, 1, self.number, 201)
        return request(self.names[-1], Leg.LONG, Purpose.ENTRY, ENTRIES + 1, self.number)


CASES: dict[str, tuple[int, dict[str, str]]] = {
    "entry": (risk.PASS, {}),
    "max_order_notional_quote": (risk.MAX_ORDER_NOTIONAL, {"max_order_notional_quote": "1"}),
    "max_leverage": (risk.MAX_LEVERAGE, {"max_leverage": "0.001"}),
    "var": (risk.VAR, {"var.max_ratio": "0.00001"}),
    "duplicate": (risk.DUPLICATE, {}),
    "reducing": (risk.PASS, {}),
    "reduce_only_proof": (risk.REDUCE_PROOF, {}),
}


def by_actor(account: Account, order: OrderRequest, code: int) -> float:
    """Give the nanoseconds from a request to its verdict; an approval ends at once, and is not timed doing so."""
    took_ns = 0
    ended = OrderEvent(kind=OrderEventKind.CANCELLED, client_id=order.client_id, reason=EndReason.NONE, qty_lots=0)
    for _ in range(ACTOR_ORDERS):
        before_ns = time.thread_time_ns()
        verdict = account.gate.judge(order, ACTIVE)
        took_ns += time.thread_time_ns() - before_ns
        if isinstance(verdict, Approved) != (code == risk.PASS):
            raise RuntimeError(f"another verdict was expected: {verdict}")
        account.book.apply(order.instrument, (ended,))
    return took_ns / ACTOR_ORDERS


def loop_of(core: Any) -> Callable[..., int]:  # noqa: ANN401 - the core's modules, of either execution
    """Make a loop that judges one order again and again, and puts back what an approval changed; give the last code."""
    weigh, check, put = core.worst_case.weigh, core.risk.check, core.gate_book.put

    def loop(times, limits, account, rules, exposures, booked, tiers, order, slot, leg):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        code = 0
        lots, worst, opened, levels = leg.entry_lots, leg.entry_worst_e8, leg.open_orders, leg.levels
        covered, best = leg.take_profit_lots, leg.best_own_ticks
        for _ in range(times):
            code = check(limits, account, rules, exposures, booked, tiers, order, 1, 1, NOW_NS, NOW_NS)
            if code == 0:
                put(rules[order.instrument], exposures, slot, order)
                slot.state = 0
                leg.entry_lots, leg.entry_worst_e8, leg.open_orders, leg.levels = lots, worst, opened, levels
                leg.take_profit_lots, leg.best_own_ticks, leg.newest_no = covered, best, order.no - 1
                weigh(limits, account, rules, exposures, tiers, order.instrument)
        return code

    return loop


def by_core(
    loop: Callable[..., int], contain: Callable[[list[Any]], Any], account: Account, asked: OrderRequest, times: int
) -> tuple[float, int]:
    """Give the nanoseconds of a turn of the loop, and the last code."""
    book = account.book
    order = book.candidate(asked)
    k = order.instrument
    exposures, booked = contain(book.exposures), contain(book.booked[k])
    tables = (contain([account.limits])[0], contain([book.account])[0], contain(book.rules), exposures, booked)
    own = (contain(book.tiers[k]), contain([order])[0], booked[-1], exposures[2 * k + order.leg])
    loop(1, *tables, *own)
    before_ns = time.thread_time_ns()
    code = loop(times, *tables, *own)
    return (time.thread_time_ns() - before_ns) / times, int(code)


def measure(count: int, case: str, loops: dict[str, Any], rounds: int) -> Json:
    """Measure one case of one account."""
    code, limits = CASES[case]
    account = Account(count, **limits)
    order = account.order(case)
    taken: dict[str, list[float]] = {"actor": [], "interpreted": [], "compiled": []}
    for _ in range(rounds):
        taken["actor"].append(by_actor(account, order, code))
        for name, (loop, contain, times) in loops.items():
            took_ns, told = by_core(loop, contain, account, order, times)
            if told != code:
                raise RuntimeError(f"{case}: expected {code}, the gate said {told}")
            taken[name].append(took_ns)
    medians = {name: round(statistics.median(figures), 1) for name, figures in taken.items()}
    return {"instruments": count, "case": case, "control": risk.CONTROL_NAMES.get(code, "passes"), **medians}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every case and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args(arguments).rounds
    plain = SimpleNamespace(worst_case=worst_case, risk=risk, gate_book=gate_book)
    loops = {
        "interpreted": (loop_of(plain), list, INTERPRETED_ORDERS),
        "compiled": (numba.njit(loop_of(compiled(cache_folder()))), as_array, COMPILED_ORDERS),
    }
    rows = [measure(count, case, loops, rounds) for count in INSTRUMENTS for case in CASES]
    slowest = {name: max(rows, key=lambda row: row[name]) for name in ("actor", "interpreted", "compiled")}
    limits = {"actor": INTERPRETED_NS_MAX, "interpreted": INTERPRETED_NS_MAX, "compiled": COMPILED_NS_MAX}
    told = {
        "entries_a_leg": ENTRIES,
        "python": platform.python_version(),
        "ns_an_order": rows,
        "slowest": {
            name: {
                "instruments": row["instruments"],
                "case": row["case"],
                "ns": row[name],
                "share_of_limit": round(row[name] / limits[name], 3),
            }
            for name, row in slowest.items()
        },
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


def as_array(rows: list[Any]) -> Any:  # noqa: ANN401 - a table of records
    """Copy records into the container of the compiled execution."""
    return pack(rows).view(np.recarray)


if __name__ == "__main__":
    main()
