"""How an account stands at one moment, for the live line and the summary.

Invariant: what is shown together was true together: equity, wallet and positions are of the same fills and marks, or
the money is not known.
"""

from decimal import Decimal

import attrs

from hedgegrid.core.account_figures import AccountFigures
from hedgegrid.model.order import Leg
from hedgegrid.ops import phrases
from hedgegrid.ops.view import AccountView


@attrs.frozen(kw_only=True)
class Standing:
    """Money in quote x 1e8; None where it is not known at this moment. ``session_base_e8``: where the session began."""

    wallet_e8: int | None = None
    equity_e8: int | None = None
    unrealised_e8: int | None = None
    realised_e8: int | None = None
    fees_e8: int | None = None
    funding_e8: int | None = None
    session_base_e8: int | None = None

    @property
    def session_percent(self) -> Decimal | None:
        """Give the change since the session began, in percent."""
        return phrases.change_percent(self.session_base_e8, self.equity_e8)


def standing_of(view: AccountView, account: AccountFigures | None) -> Standing:
    """Give how the account stands by the gate's books at this moment; by the last sample where there is no gate.

    Books that have not heard of a fill yet, which the positions have in them, tell no money.
    """
    if account is None:
        return Standing(
            wallet_e8=view.wallet_e8,
            equity_e8=view.equity_e8,
            unrealised_e8=view.unrealised_e8,
            realised_e8=view.realised_e8,
            fees_e8=view.fees_e8,
            funding_e8=view.funding_e8,
        )
    money, worth = account.money, account.worth
    if money is None or not _same_positions(view, account):
        return Standing()
    return Standing(
        wallet_e8=money.wallet_e8,
        equity_e8=None if worth is None else worth.equity_e8,
        unrealised_e8=None if worth is None else worth.unrealised_e8,
        realised_e8=money.realised_e8,
        fees_e8=money.fees_e8,
        funding_e8=money.funding_e8,
        session_base_e8=None if worth is None else worth.equity_e8 + worth.session_loss_e8,
    )


def _same_positions(view: AccountView, account: AccountFigures) -> bool:
    """Tell whether the books hold what the positions that are shown beside them are."""
    rules = list(view.instruments.values())
    return all(rules[one.instrument].legs[Leg(one.leg)].qty_lots == one.qty_lots for one in account.legs)
