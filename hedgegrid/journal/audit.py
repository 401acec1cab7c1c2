"""Independent bookkeeping of a tape, as simple as it can be: sums over the messages, compared with what the tables say.

Invariants: nothing here uses the projections; each check names its figures, and the first case that breaks it.
"""

from typing import Final

import attrs

from hedgegrid.journal.projections import Opening
from hedgegrid.messages.events import (
    AccountChanged,
    AccountHydrated,
    ApprovedBatch,
    EquitySampled,
    ExecutionBatch,
    ForeignSeen,
    FundingPaid,
    Liquidated,
    Message,
    WalletRead,
)
from hedgegrid.model.order import Fill, Leg, Purpose

_SIGNS: Final = {True: 1, False: -1}


@attrs.frozen(kw_only=True)
class Check:
    """One thing that was proved, or not: its name, the figures, and whether they agree."""

    name: str
    ok: bool
    figures: str

    def text(self) -> str:
        """Give the check as a line."""
        return f"{'OK    ' if self.ok else 'FAILED'}  {self.name}: {self.figures}"


@attrs.define
class Finding:
    """Counts cases and keeps the first that failed."""

    cases: int = 0
    failed: int = 0
    first: str = ""

    def see(self, row: int, what: str, *, ok: bool) -> None:
        """Take one case."""
        self.cases += 1
        if not ok:
            self.failed += 1
            self.first = self.first or f"row {row}: {what}"

    def check(self, name: str, things: str) -> Check:
        """Give the outcome."""
        figures = f"{self.cases:,} {things}"
        if self.failed:
            figures += f", {self.failed:,} wrong, the first at {self.first}"
        return Check(name=name, ok=self.failed == 0, figures=figures)


@attrs.define(kw_only=True)
class _Ahead:
    """A sample whose wallet was above the books by ``by_e8``, and what was told of other money since."""

    row: int
    what: str
    by_e8: int
    told_e8: int = 0


class Audit:
    """Walks the tape beside the projections. Memory holds keys of the fills, as many as the journal has."""

    def __init__(self, opening: Opening) -> None:
        """Begin with what the account began with; the first balance tells where the wallet is not known."""
        self._known = opening.given_e8 is not None
        self._opening = Opening(given_e8=opening.given_e8, wallet_e8=opening.given_e8)
        self._fill_keys: set[tuple[str, int, str]] = set()
        self._paid: set[tuple[str, int]] = set()
        self._approved: set[str] = set()
        self._ids = Finding()
        self._owned = Finding()
        self._samples = Finding()
        self._ahead: list[_Ahead] = []
        self._deaths = Finding()
        self._forced_ns: set[int] = set()
        self._deadly_ns: set[int] = set()
        self.positions: dict[tuple[str, Leg], int] = {}
        """By leg: what our fills make of it."""
        self.adopted: dict[tuple[str, Leg], int] = {}
        """By leg: what was not ours and was adopted."""
        self.beyond: dict[tuple[str, Leg], int] = {}
        """By leg: what our fills closed beyond our own part."""
        self.shared: set[str] = set()
        """The instruments in which others were seen."""
        self.repeated = 0
        self.realised_e8 = 0
        self.fees_e8 = 0
        self.funding_e8 = 0

    @property
    def wallet_e8(self) -> int:
        """The wallet by these sums."""
        return (self._opening.wallet_e8 or 0) + self.realised_e8 - self.fees_e8 - self.funding_e8

    def see(self, row: int, message: Message) -> None:
        """Take a row of the tape."""
        match message:
            case ApprovedBatch():
                self._approvals(row, message)
            case ExecutionBatch():
                self._fills(row, message)
            case FundingPaid():
                self._funding(message)
            case AccountHydrated():
                self._balance(message)
            case AccountChanged() | WalletRead():
                self._shift(message)
            case EquitySampled():
                self._sample(row, message)
            case ForeignSeen():
                self._adopt(message)
            case Liquidated():
                text = f"equity {message.equity_e8} is not under maintenance {message.maintenance_e8}"
                self._deaths.see(row, text, ok=message.equity_e8 < message.maintenance_e8)
                self._deadly_ns.add(message.ts_venue_ns)
            case _:
                """Nothing that is counted here."""

    def _adopt(self, message: ForeignSeen) -> None:
        self.shared.add(message.instrument)
        for one in message.adopted:
            leg = (message.instrument, one.lot.leg)
            self.adopted[leg] = self.adopted.get(leg, 0) + one.lot.qty_lots

    def _approvals(self, row: int, batch: ApprovedBatch) -> None:
        for one in batch.approved:
            client_id = one.request.client_id
            self._ids.see(row, f"{client_id} was approved before", ok=client_id not in self._approved)
            self._approved.add(client_id)

    def _funding(self, paid: FundingPaid) -> None:
        key = (paid.instrument, paid.ts_venue_ns)
        if key not in self._paid:
            self._paid.add(key)
            self.funding_e8 += paid.long_e8 + paid.short_e8
            self._explain(-paid.long_e8 - paid.short_e8)

    def _fills(self, row: int, batch: ExecutionBatch) -> None:
        for said in batch.events:
            if said.fill is not None:
                self._fill(row, said.fill)

    def _fill(self, row: int, fill: Fill) -> None:
        key = (fill.instrument, fill.trade_id, fill.client_id)
        if key in self._fill_keys:
            self.repeated += 1
            return
        self._fill_keys.add(key)
        forced = fill.purpose is Purpose.LIQUIDATION
        if forced and not fill.client_id:
            # An exchange that names its forced orders also deleverages and settles: no liquidation need be told.
            self._forced_ns.add(fill.ts_ns)
        owned = forced or fill.client_id in self._approved
        self._owned.see(row, f"trade {fill.trade_id} of {fill.client_id!r}, which was not approved", ok=owned)
        leg = (fill.instrument, fill.leg)
        signed = fill.qty_lots * _SIGNS[fill.purpose is Purpose.ENTRY]
        after = self.positions.get(leg, 0) + signed
        beyond = max(0, -after - self.adopted.get(leg, 0))
        if beyond:
            self.beyond[leg] = self.beyond.get(leg, 0) + beyond
        self.positions[leg] = after + beyond
        self.realised_e8 += fill.realised_e8
        self.fees_e8 += fill.fee_e8

    def _balance(self, message: AccountHydrated) -> None:
        if self._known:
            return
        self._known = True
        balance = message.balance
        self._opening = Opening(
            given_e8=None,
            wallet_e8=balance.wallet_e8 - self.realised_e8 + self.fees_e8 + self.funding_e8,
            realised_e8=balance.realised_e8 - self.realised_e8,
            fees_e8=balance.fees_e8 - self.fees_e8,
            funding_e8=balance.funding_e8 - self.funding_e8,
        )

    def _shift(self, message: AccountChanged | WalletRead) -> None:
        """Money that is no result, and what the exchange's wallet held beyond all that was told."""
        delta_e8 = message.delta_e8 if isinstance(message, AccountChanged) else message.unexplained_e8
        opening = self._opening
        if opening.wallet_e8 is not None:
            self._opening = attrs.evolve(opening, wallet_e8=opening.wallet_e8 + delta_e8)
            self._explain(delta_e8)

    def _explain(self, change_e8: int) -> None:
        """Take the word on money that the exchange's wallet may have held before: samples that were ahead by it."""
        still: list[_Ahead] = []
        for one in self._ahead:
            one.told_e8 += change_e8
            if one.by_e8 in (change_e8, one.told_e8):
                self._samples.see(one.row, "", ok=True)
            else:
                still.append(one)
        self._ahead = still

    def _sample(self, row: int, sample: EquitySampled) -> None:
        opening = self._opening
        ours = {
            "wallet_e8": self.wallet_e8,
            "realised_e8": opening.realised_e8 + self.realised_e8,
            "fees_e8": opening.fees_e8 + self.fees_e8,
            "funding_e8": opening.funding_e8 + self.funding_e8,
            "equity_e8": sample.wallet_e8 + sample.unrealised_e8,
        }
        wrong = [name for name, value in ours.items() if getattr(sample, name) != value]
        what = ", ".join(f"{name} {getattr(sample, name)}, by the fills {ours[name]}" for name in wrong)
        if wrong == ["wallet_e8"]:
            # A wallet that was read may hold what is told a moment later: a settlement, money that came meanwhile.
            self._ahead.append(_Ahead(row=row, what=what, by_e8=sample.wallet_e8 - self.wallet_e8))
        else:
            self._samples.see(row, what, ok=not wrong)

    def checks(self) -> list[Check]:
        """Give what the tape alone proves."""
        for one in self._ahead:
            self._samples.see(one.row, one.what, ok=False)
        self._ahead = []
        unexplained = sorted(self._forced_ns ^ self._deadly_ns)
        deaths = self._deaths.check("every liquidation is explained", "liquidations")
        if unexplained:
            figures = f"{deaths.figures}; at {unexplained[0]} ns there is a liquidation without its fills or its reason"
            deaths = Check(name=deaths.name, ok=False, figures=figures)
        return [
            self._ids.check("no client id is approved twice", "approvals"),
            self._owned.check("every fill belongs to an order approved before it, or to a liquidation", "fills"),
            self._samples.check("every equity sample agrees with the fills before it", "samples"),
            deaths,
        ]

    @property
    def fills(self) -> int:
        """How many fills there were, repeated ones counted once."""
        return len(self._fill_keys)

    @property
    def approvals(self) -> int:
        """How many client ids were approved."""
        return len(self._approved)
