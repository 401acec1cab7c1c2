"""The executor and the wallet: its age, what differs from the books and why, and what a restarted gate is told of it.

Invariants: what is compared is the venue's truth, what risk was told, and what the journal holds.
"""

from pathlib import Path

import pytest

from hedgegrid.actors.post import EXECUTOR
from hedgegrid.messages.commands import Rehydrate
from hedgegrid.messages.events import AccountChanged, AccountHydrated, Incident, WalletRead
from tests.actors.desk import desk
from tests.actors.fake_venue import told
from tests.journal.life import WALLET_E8


@pytest.mark.asyncio
async def test_the_wallet_s_age_is_that_of_its_reads(tmp_path: Path) -> None:
    """A quiet account is polled: risk hears of the wallet every time, with the exchange's figure."""
    async with desk(tmp_path) as at:
        await at.held()
        await at.wait(41)
        words = at.heard(WalletRead)
        assert len(words) == 2
        assert words[-1].wallet_e8 == at.venue.wallet_e8 == WALLET_E8 - 10
        assert at.incidents() == []


@pytest.mark.asyncio
async def test_a_difference_that_nothing_explains_is_told_with_both_figures(tmp_path: Path) -> None:
    """First it may be on its way; when it stays the books follow the exchange, and a person is told once."""
    async with desk(tmp_path) as at:
        at.venue.wallet_e8 -= 5 * 10**8
        await at.wait(20.5)
        assert [one.wallet_e8 for one in at.heard(WalletRead)] == [None]
        assert at.incidents() == []
        await at.wait(6)
        (incident,) = [one for one in at.published if isinstance(one, Incident)]
        assert incident.figures == {"ours_e8": str(WALLET_E8), "theirs_e8": str(WALLET_E8 - 5 * 10**8)}
        word = at.heard(WalletRead)[-1]
        assert (word.wallet_e8, word.unexplained_e8) == (WALLET_E8 - 5 * 10**8, -5 * 10**8)
        assert at.journal.totals().wallet_e8 == at.venue.wallet_e8
        await at.wait(60)
        assert len(at.incidents()) == 1


@pytest.mark.asyncio
async def test_a_transfer_is_explained_by_its_message(tmp_path: Path) -> None:
    """Money that comes in is in the books as soon as the exchange says so: no difference, no incident."""
    async with desk(tmp_path) as at:
        at.venue.wallet_e8 += 7 * 10**8
        changed = AccountChanged(**at.post.head(), wallet_e8=at.venue.wallet_e8, why="DEPOSIT", delta_e8=7 * 10**8)
        at.post.send(changed, EXECUTOR)
        await at.wait(60)
        (word,) = at.heard(AccountChanged)
        assert word.delta_e8 == 7 * 10**8
        assert at.incidents() == []
        assert at.journal.totals().wallet_e8 == at.venue.wallet_e8


@pytest.mark.asyncio
async def test_a_restarted_gate_is_told_no_money_that_the_books_have_still_to_hear_of(tmp_path: Path) -> None:
    """A fill whose word is on its way is in the exchange's wallet already: told with it, it would count twice."""
    async with desk(tmp_path) as at:
        request = at.request(qty_lots=10)
        await at.resting(request)
        fill = at.venue.fill(request.client_id, 10)
        at.post.send(Rehydrate(**at.post.head(), instrument="", why="risk started"), EXECUTOR)
        await at.rest()
        (done,) = at.heard(AccountHydrated)
        assert (done.balance.wallet_e8, done.of_books) == (WALLET_E8, True)
        at.report(told(fill, 0))
        await at.rest()
        assert done.balance.wallet_e8 - fill.fee_e8 == at.journal.totals().wallet_e8 == at.venue.wallet_e8
