"""The account: positions at average cost, the wallet, margins, and the income rows that explain every change of it.

Invariants: wallet = initial + sum of all income rows, to the last unit; a hedge-mode leg never changes its sign; a
position of zero has a cost of zero; realised = proceeds - floor(cost x q / position), the last reduction takes the
rest; fees round half up to 1e-8.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

import attrs

from tools.standin.rules import E8, PPM, InstrumentSpec

PositionSide = Literal["LONG", "SHORT", "BOTH"]
HEDGE_SIDES: Final[tuple[PositionSide, ...]] = ("LONG", "SHORT")
INCOME_KEPT: Final = 200_000


def half_up(numerator: int, divisor: int) -> int:
    """Divide, rounded half up."""
    return (2 * numerator + divisor) // (2 * divisor)


@attrs.define(kw_only=True)
class Position:
    """A leg: signed quantity (SHORT is negative), cost in quote x 1e8; fees and funding are costs (paid: positive)."""

    symbol: str
    side: PositionSide
    qty_lots: int = 0
    cost_e8: int = 0
    realised_e8: int = 0
    fees_e8: int = 0
    funding_e8: int = 0
    updated_ms: int = 0

    def notional_e8(self, price_ticks: int, unit_e8: int) -> int:
        """Give the unsigned worth at a price."""
        return abs(self.qty_lots) * price_ticks * unit_e8

    def unrealised_e8(self, mark_ticks: int, unit_e8: int) -> int:
        """Give the profit that closing at the mark would realise, before fees."""
        worth = self.notional_e8(mark_ticks, unit_e8)
        return worth - self.cost_e8 if self.qty_lots >= 0 else self.cost_e8 - worth

    def trade(self, signed_lots: int, price_ticks: int, unit_e8: int) -> int:
        """Change the position by a signed quantity at a price; give the realised profit."""
        closing = 0
        if self.qty_lots * signed_lots < 0:
            closing = min(abs(self.qty_lots), abs(signed_lots))
        realised = self._reduce(closing, closing * price_ticks * unit_e8) if closing else 0
        opening = abs(signed_lots) - closing
        if opening:
            self.qty_lots += opening if signed_lots > 0 else -opening
            self.cost_e8 += opening * price_ticks * unit_e8
        return realised

    def _reduce(self, lots: int, worth_e8: int) -> int:
        held = abs(self.qty_lots)
        released = self.cost_e8 if lots == held else self.cost_e8 * lots // held
        realised = worth_e8 - released if self.qty_lots > 0 else released - worth_e8
        self.qty_lots -= lots if self.qty_lots > 0 else -lots
        self.cost_e8 -= released
        self.realised_e8 += realised
        return realised


@attrs.frozen(kw_only=True)
class Income:
    """One change of the wallet."""

    symbol: str
    kind: str
    amount_e8: int
    time_ms: int
    tran_id: int
    trade_id: str


class Account:
    """One account of one margin asset, cross margin. ``mark`` gives a symbol's mark in ticks."""

    def __init__(
        self,
        specs: Mapping[str, InstrumentSpec],
        mark: Callable[[str], int],
        *,
        wallet_e8: int,
        hedge: bool,
        leverage: int,
    ) -> None:
        self._specs = specs
        self.mark = mark
        self.initial_e8 = wallet_e8
        self.wallet_e8 = wallet_e8
        self.hedge = hedge
        self.multi_assets = False
        self.fee_burn = False
        self.leverage = dict.fromkeys(specs, leverage)
        self.margin_type = dict.fromkeys(specs, "CROSSED")
        self.updated_ms = 0
        self.income: deque[Income] = deque(maxlen=INCOME_KEPT)
        self._tran_id = 0
        self._positions: dict[tuple[str, PositionSide], Position] = {}

    # --- positions --------------------------------------------------------------------------------------------------

    def position(self, symbol: str, side: PositionSide) -> Position:
        """Give a leg, empty where nothing was ever traded."""
        key = (symbol, side)
        found = self._positions.get(key)
        if found is None:
            found = self._positions[key] = Position(symbol=symbol, side=side)
        return found

    def positions(self, symbol: str | None = None) -> Iterator[Position]:
        """Give the legs that are not flat, of one symbol or of all, in the order of the symbols."""
        for name in [symbol] if symbol else self._specs:
            for side in (*HEDGE_SIDES, "BOTH"):
                found = self._positions.get((name, side))
                if found is not None and found.qty_lots:
                    yield found

    def listed(self, symbol: str) -> list[Position]:
        """Give a symbol's legs as a list shows them: those of the present mode, and any other that is not flat."""
        sides: tuple[PositionSide, ...] = HEDGE_SIDES if self.hedge else ("BOTH",)
        legs = [self.position(symbol, side) for side in sides]
        return legs + [leg for leg in self.positions(symbol) if leg.side not in sides]

    # --- money ------------------------------------------------------------------------------------------------------

    def fill(self, position: Position, signed_lots: int, price_ticks: int, now_ms: int) -> int:
        """Change a leg; give what it realised. The money follows with ``earn``."""
        realised = position.trade(signed_lots, price_ticks, self._specs[position.symbol].unit_e8)
        position.updated_ms = self.updated_ms = now_ms
        return realised

    def fee_e8(self, symbol: str, lots: int, price_ticks: int, *, maker: bool) -> int:
        """Give the commission of an execution."""
        spec = self._specs[symbol]
        return half_up(lots * price_ticks * spec.unit_e8 * (spec.maker_ppm if maker else spec.taker_ppm), PPM)

    def earn(self, symbol: str, kind: str, amount_e8: int, now_ms: int, trade_id: str = "") -> None:
        """Change the wallet by an amount and say why; nothing is said of nothing."""
        if amount_e8 == 0:
            return
        self.wallet_e8 += amount_e8
        self.updated_ms = now_ms
        self._tran_id += 1
        self.income.append(
            Income(
                symbol=symbol,
                kind=kind,
                amount_e8=amount_e8,
                time_ms=now_ms,
                tran_id=self._tran_id,
                trade_id=trade_id,
            )
        )

    def charge_funding(self, position: Position, rate_e8: int, now_ms: int) -> int:
        """Charge one settlement to a leg; give what the wallet gained."""
        unit = self._specs[position.symbol].unit_e8
        signed = position.qty_lots * self.mark(position.symbol) * unit
        charge = half_up(signed * rate_e8, E8)
        position.funding_e8 += charge
        self.earn(position.symbol, "FUNDING_FEE", -charge, now_ms)
        return -charge

    # --- margin -----------------------------------------------------------------------------------------------------

    def unrealised_e8(self) -> int:
        """Give the profit of all legs at the marks."""
        return sum(
            leg.unrealised_e8(self.mark(leg.symbol), self._specs[leg.symbol].unit_e8) for leg in self.positions()
        )

    def equity_e8(self) -> int:
        """Give the wallet plus the unrealised profit."""
        return self.wallet_e8 + self.unrealised_e8()

    def notional_e8(self, leg: Position) -> int:
        """Give a leg's unsigned worth at the mark."""
        return leg.notional_e8(self.mark(leg.symbol), self._specs[leg.symbol].unit_e8)

    def initial_margin_e8(self, leg: Position) -> int:
        """Give the initial margin of a leg at the mark, rounded up."""
        return -(-self.notional_e8(leg) // self.leverage[leg.symbol])

    def maintenance_of_e8(self, leg: Position) -> int:
        """Give the maintenance margin of a leg at the mark."""
        return self._specs[leg.symbol].maintenance_e8(self.notional_e8(leg))

    def maintenance_e8(self) -> int:
        """Give the maintenance margin of all legs."""
        return sum(self.maintenance_of_e8(leg) for leg in self.positions())

    def positions_margin_e8(self) -> int:
        """Give the initial margin of all legs."""
        return sum(self.initial_margin_e8(leg) for leg in self.positions())
