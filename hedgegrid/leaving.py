"""What is done and said where no actor lives any more: entries go, and people are told what stays at the exchange.

Invariants: only entries of ours are taken away; what is told is the exchange's word where it answers, else that of the
books, and it says which; a position that is not known is never said to be none.
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from loguru import logger

from hedgegrid.app import House
from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import Fatal, HedgegridError
from hedgegrid.messages.events import Incident
from hedgegrid.model.order import Leg, OpenOrder, Purpose
from hedgegrid.ops import account_words
from hedgegrid.ops.view import AccountView

FAILED: Final = "the run has failed, and nobody watches what it leaves at the exchange"
"""What the incident says."""
READ_S: Final = 5.0
"""What the exchange gets to say which entries rest."""


async def cancel_entries(house: House) -> None:
    """Take every entry of ours away as far as the exchange lets us, and say where it does not.

    Where it does not say in time what rests (its limit of reads is used up), those of the books go.
    """
    try:
        async with asyncio.timeout(READ_S):
            resting = await _entries_of_ours(house)
    except (HedgegridError, TimeoutError) as fault:
        logger.error(
            "the exchange does not say what rests ({}): entries of the books are cancelled",
            str(fault) or "no answer in time",
        )
        ours = {one.name: house.view.orders.entries(one.name) for one in house.instruments}
    else:
        ours = {
            one.name: [order.client_id for order in resting if order.instrument == one.name]
            for one in house.instruments
        }
    for instrument, client_ids in ours.items():
        if client_ids:
            await _cancel(house, instrument, client_ids)


async def _cancel(house: House, instrument: str, client_ids: Sequence[str]) -> None:
    """Cancel, and say where that is refused: the next instrument's entries go all the same."""
    try:
        await house.world.trading.cancel(instrument, client_ids)
    except HedgegridError as fault:
        logger.error("entries of {} could not be cancelled: {}; look at the exchange", instrument, fault)


async def _entries_of_ours(house: House) -> list[OpenOrder]:
    """Read the entries of ours that rest. Raises what the exchange's side raises."""
    return [
        order
        for order in await house.world.trading.open_orders()
        if order.purpose is Purpose.ENTRY
        and (parts := parse_client_id(order.client_id)) is not None
        and parts.account == house.config.account.name
    ]


async def tell_what_is_left(house: House, why: str) -> str:
    """Have people, and where it still writes the journal, know what a run that failed leaves; give it in words."""
    left = dict(_positions(house.view)) or {"positions": "none"}
    try:
        async with asyncio.timeout(READ_S):
            resting = len(await _entries_of_ours(house))
    except (HedgegridError, TimeoutError):
        books = sum(house.view.orders.count(name, leg, Purpose.ENTRY) for name in house.view.instruments for leg in Leg)
        left["entries"] = f"{books} by the books, NOT taken away: the exchange could not be asked"
    else:
        left["entries"] = f"{resting} rest and may fill" if resting else "none"
    word = Incident(**house.post.head(), actor="run", text=FAILED, figures={"why": why, **left})
    try:
        house.post.publish(word)
    except Fatal:
        # The journal has failed: people are told all the same.
        house.view.observe(word)
        if house.alerts is not None:
            house.alerts.observe(word)
    return ", ".join(f"{name} {what}" for name, what in left.items())


def _positions(view: AccountView) -> Iterator[tuple[str, str]]:
    """Give each leg that holds something, or of which nobody knows."""
    for name, one in view.instruments.items():
        for leg in Leg:
            held = one.legs[leg].qty_lots
            if held == 0:
                continue
            bare_lots = view.unprotected_lots(name, leg)
            guarded = f", {one.rules.qty_text(bare_lots)} WITHOUT A STOP" if bare_lots else ", stops cover it"
            what = "not known" if held is None else f"{account_words.position(one, leg)}{guarded}"
            yield f"{name} {leg.name.lower()}", what
