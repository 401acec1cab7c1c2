"""The account's money, read back: the wallet, what trading has paid and cost, and funding by leg.

Invariants: a sum over the exchange's income records counts each once; funding's legs add up to what was charged, to
the last unit; what the exchange did not tell is Transient, never zero.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from hedgegrid.errors import Transient
from hedgegrid.messages.events import FundingPaid
from hedgegrid.model.account import Balance
from hedgegrid.model.order import Leg
from hedgegrid.units import CASH_SCALE, NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.ccxtpro import parse_account
from hedgegrid.venues.ccxtpro.order_names import keep
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.payload import field, mapping, ms_ns, rows
from hedgegrid.venues.ccxtpro.reads import read
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, Rounding, Scale, e8
from hedgegrid.venues.ccxtpro.traded import Traded

PAGE: Final = 1_000
PAGES_MAX: Final = 100
INCOME_KEPT_NS: Final = 90 * 24 * 60 * NS_PER_MINUTE
"""How far back the exchange tells income: three months."""
_LATE_NS: Final = 2 * NS_PER_MINUTE
"""Income may be listed this much after its time: so far back is read again."""
_FUNDING: Final = "FUNDING_FEE"
_SUMMED: Final = ("REALIZED_PNL", "COMMISSION", _FUNDING)
_INCOME_WEIGHT: Final = 30
_ACCOUNT_WEIGHT: Final = 5
_SEEN_KEPT: Final = 20_000

LegLotsOf = Callable[[str, Leg], int | None]
_IncomeKey = tuple[object, ...]


@attrs.frozen(kw_only=True)
class FundingRateAt:
    """What a settlement was charged at: the rate x 1e8 and the mark."""

    rate_e8: int
    mark_ticks: int


def funding_rates(payload: object, scale: Scale) -> dict[int, FundingRateAt]:
    """Read v1/fundingRate: what each settlement was charged at, by its minute in ns. BadPayloadError."""
    found: dict[int, FundingRateAt] = {}
    for entry in rows(payload, "funding rates"):
        row = mapping(entry, "a funding rate")
        found[_minute_ns(ms_ns(row, "fundingTime"))] = FundingRateAt(
            rate_e8=e8(field(row, "fundingRate"), "fundingRate", Rounding.NEAREST),
            mark_ticks=scale.price_ticks(field(row, "markPrice"), "markPrice", Rounding.NEAREST),
        )
    return found


def by_leg(
    costs_e8: Sequence[int], charged: FundingRateAt, unit_e8: int, long_lots: int | None, short_lots: int | None
) -> tuple[int, int]:
    """Share one settlement's costs (negative = received) between LONG and SHORT; the two add up to all of them.

    A record for each leg goes where its sign belongs: LONG pays a positive rate, SHORT receives it. One record for
    both legs is shared by what LONG is expected to pay on ``long_lots``; where the lots are not known, by its sign.
    """
    total = sum(costs_e8)
    if len(costs_e8) == 1 and long_lots and short_lots:
        expected = charged.rate_e8 * charged.mark_ticks * long_lots * unit_e8
        long_e8 = (2 * expected + CASH_SCALE) // (2 * CASH_SCALE)
        return long_e8, total - long_e8
    long_pays = charged.rate_e8 >= 0
    long_e8 = sum(cost for cost in costs_e8 if (cost > 0) == long_pays)
    return long_e8, total - long_e8


class MoneyReads:
    """Reads the wallet and the income records."""

    def __init__(
        self,
        *,
        traded: Traded,
        books_from_ns: int,
        lots_of: LegLotsOf,
        funding_seen: Callable[[], None],
    ) -> None:
        """Sum from ``books_from_ns`` on; ``lots_of``: a leg's lots as the stream told them last, None if it did not.

        ``funding_seen`` is called where a sum finds a charge that is new to it.
        """
        self._session = traded.session
        self._listed = traded.listed
        self._settle_asset = traded.settle_asset
        self._books_from_ns = books_from_ns
        self._lots_of = lots_of
        self._funding_seen = funding_seen
        self._sums_e8 = dict.fromkeys(_SUMMED, 0)
        self._summed_ns = books_from_ns
        self._seen: OrderedDict[_IncomeKey, int] = OrderedDict()

    async def balance(self) -> Balance:
        """Read the wallet, and the sums of the income records since the books began. Raises Transient.

        The exchange tells income of three months: of books that are older, and of what happened before they began,
        the sums know nothing. Commissions in other assets are not in them.
        """
        account = await read(
            self._session, "fapiPrivateV3GetAccount", {}, parse_account.account, weight=_ACCOUNT_WEIGHT
        )
        try:
            wallet_e8 = account.asset(self._settle_asset).wallet_e8
        except BadPayloadError as error:
            raise Transient(f"the wallet: {error}") from error
        await self._sum_up()
        return Balance(
            wallet_e8=wallet_e8,
            realised_e8=self._sums_e8["REALIZED_PNL"],
            fees_e8=-self._sums_e8["COMMISSION"],
            funding_e8=-self._sums_e8[_FUNDING],
        )

    async def _sum_up(self) -> None:
        """Add the records that are new since the last sum."""
        oldest_ns = self._session.venue_ns() - INCOME_KEPT_NS
        start_ns = max(self._books_from_ns, self._summed_ns - _LATE_NS, oldest_ns)
        found = await self._income(start_ns, {})
        charged = False
        for row in found:
            key = _key(row)
            if row.kind in self._sums_e8 and row.asset == self._settle_asset and key not in self._seen:
                keep(self._seen, key, row.ts_ns, _SEEN_KEPT)
                self._sums_e8[row.kind] += row.amount_e8
                charged = charged or row.kind == _FUNDING
        self._summed_ns = max([self._summed_ns, *(row.ts_ns for row in found)])
        # What is older than the next reading begins will not be met again.
        while self._seen and next(iter(self._seen.values())) < self._summed_ns - _LATE_NS:
            self._seen.popitem(last=False)
        if charged:
            self._funding_seen()

    async def funding_since(self, ts_ns: int) -> tuple[FundingPaid, ...]:
        """Read the settlements after ``ts_ns`` (or since the books began), oldest first. Raises Transient."""
        start_ns = max(ts_ns // NS_PER_MINUTE * NS_PER_MINUTE + NS_PER_MINUTE, self._books_from_ns)
        symbols = {one.symbol: one for one in self._listed.values()}
        settled: dict[tuple[int, str], list[int]] = {}
        charged_ns: dict[tuple[int, str], int] = {}
        for row in await self._income(start_ns, {"incomeType": _FUNDING}):
            if row.kind == _FUNDING and row.asset == self._settle_asset and row.symbol in symbols:
                key = (_minute_ns(row.ts_ns), row.symbol)
                settled.setdefault(key, []).append(-row.amount_e8)
                charged_ns[key] = row.ts_ns
        paid: list[FundingPaid] = []
        rates: dict[str, dict[int, FundingRateAt]] = {}
        for (minute_ns, symbol), costs_e8 in sorted(settled.items()):
            listed = symbols[symbol]
            if minute_ns not in rates.get(symbol, {}):
                rates[symbol] = await self._rates(listed, minute_ns)
            charged = rates[symbol].get(minute_ns)
            if charged is None:
                raise Transient(f"{symbol}: the rate of the settlement at {minute_ns} ns is not told yet")
            one = self._paid(listed, minute_ns, costs_e8, charged)
            paid.append(attrs.evolve(one, charged_ns=charged_ns[minute_ns, symbol]))
        return tuple(paid)

    def _paid(
        self, listed: ListedInstrument, minute_ns: int, costs_e8: list[int], charged: FundingRateAt
    ) -> FundingPaid:
        name = listed.instrument.name
        now_ns = self._session.venue_ns()
        recent = now_ns - minute_ns < NS_PER_MINUTE
        long_lots = self._lots_of(name, Leg.LONG) if recent else None
        short_lots = self._lots_of(name, Leg.SHORT) if recent else None
        long_e8, short_e8 = by_leg(costs_e8, charged, listed.instrument.unit_e8, long_lots, short_lots)
        return FundingPaid(
            seq=0,
            cause_seq=0,
            ts_venue_ns=minute_ns,
            ts_recv_ns=0,
            instrument=name,
            rate_e8=charged.rate_e8,
            mark_ticks=charged.mark_ticks,
            long_e8=long_e8,
            short_e8=short_e8,
        )

    async def _rates(self, listed: ListedInstrument, from_ns: int) -> dict[int, FundingRateAt]:
        """Read the rates of settlements from one on."""
        return await read(
            self._session,
            "fapiPublicGetFundingRate",
            {"symbol": listed.symbol, "startTime": from_ns // NS_PER_MS, "limit": PAGE},
            lambda answer: funding_rates(answer, listed.scale),
            weight=1,
        )

    async def _income(self, start_ns: int, which: Mapping[str, Any]) -> list[parse_account.IncomeRow]:
        """Read income records from ``start_ns`` on, each once, ascending."""
        found: dict[_IncomeKey, parse_account.IncomeRow] = {}
        for _ in range(PAGES_MAX):
            params = {**which, "startTime": start_ns // NS_PER_MS, "limit": PAGE}
            page = await read(
                self._session, "fapiPrivateGetIncome", params, parse_account.income_rows, weight=_INCOME_WEIGHT
            )
            found |= {_key(row): row for row in page}
            if len(page) < PAGE:
                return sorted(found.values(), key=lambda row: (row.ts_ns, row.tran_id))
            # Records of one time can lie on both sides of a page: the last time is read again.
            start_ns = max(page[-1].ts_ns, start_ns + NS_PER_MS)
        raise Transient(f"more than {PAGES_MAX * PAGE:,} income records since the last read")


def _key(row: parse_account.IncomeRow) -> _IncomeKey:
    return (row.ts_ns, row.tran_id, row.kind, row.symbol, row.trade_id, row.amount_e8)


def _minute_ns(ts_ns: int) -> int:
    return ts_ns // NS_PER_MINUTE * NS_PER_MINUTE
