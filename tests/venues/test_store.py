"""The exchange on disk: what is read back is what was there, and what cannot go on is set aside, never lost.

Invariant: the file is compared with the exchange that wrote it, table by table.
"""

from pathlib import Path
from typing import Any

import pytest

from hedgegrid.config.params import instrument_of, venue_rules
from hedgegrid.core.codes import FREE
from hedgegrid.core.records import CancelRequest, LegAccount, Link, Market, VenueOrder
from hedgegrid.errors import Fatal
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.opening import set_aside_what_cannot_go_on, venue_path
from hedgegrid.venues.simulated.store import VenueStore
from tests.actors.house import BTC, Boot, boot, market, settings, simulation


def columns(record: Any) -> tuple[Any, ...]:
    """A record's fields."""
    return tuple(getattr(record, name) for name in type(record).__slots__)


def tables(exchange: Exchange) -> dict[str, Any]:
    """Everything that a book holds, slots in use by their place."""
    (book,) = exchange.books
    kinds: dict[type, list[Any]] = {VenueOrder: book.orders, Link: book.links, CancelRequest: book.cancels}
    return {
        "market": columns(book.market),
        "accounts": [columns(account) for account in book.accounts],
        "names": (book.client_of, book.number_of, book.created_ns, book.next_no),
        "fills": exchange.fills,
        "settled": exchange.settled,
        "money": (exchange.initial_wallet_e8, exchange.next_trade_id, exchange.liquidated, exchange.last_settled_ns),
        **{
            kind.__name__: [(place, columns(row)) for place, row in enumerate(rows) if row.state != FREE]
            for kind, rows in kinds.items()
        },
    }


async def lived(path: Path, **options: Any) -> Boot:
    """A run that ends in the middle of its market, with orders resting and a latency."""
    config = settings(path, account={"on_stop": "keep"}, sim={"latency_ms": 100})
    return await boot(config, market(seed=2, count=100, funding=[(-460, 5_000), (20, 50_000)]), **options)


@pytest.mark.asyncio
async def test_what_was_kept_is_read_back(tmp_path: Path) -> None:
    """Orders, links, cancels, legs, names, fills and settlements come back as they were."""
    one = await lived(tmp_path, duration_s=75 * 60)
    config = one.house.config
    instrument = instrument_of(config, BTC)
    again = Exchange([instrument], [venue_rules(config, instrument)], 1)
    store = VenueStore(venue_path(one.path), "whatever")
    kept = store.load(again)
    store.close()
    assert kept is not None
    assert (kept.saved_step, kept.next_step, kept.ended) == (kept.next_step, kept.next_step, "duration reached")
    assert tables(again) == tables(one.exchange)
    assert tables(again)["VenueOrder"]
    assert store.identity == simulation(one.house).tape.identity


@pytest.mark.asyncio
async def test_another_market_sets_the_old_run_aside(tmp_path: Path) -> None:
    """An exchange goes on only on its own market; otherwise both files move away under one number, whole."""
    one = await lived(tmp_path, duration_s=30 * 60)
    before = one.path.read_bytes()
    identity = simulation(one.house).tape.identity
    assert set_aside_what_cannot_go_on(one.path, identity, keep=True) == ""
    assert "another market" in set_aside_what_cannot_go_on(one.path, "other", keep=True)
    assert not one.path.exists()
    assert (tmp_path / "house.1.db").read_bytes() == before
    assert (tmp_path / "house.venue.1.db").exists()
    (tmp_path / "house.db").write_bytes(b"x")
    (tmp_path / "house.2.db").write_bytes(b"in the way")
    assert "gone" in set_aside_what_cannot_go_on(one.path, identity, keep=True)
    assert (tmp_path / "house.3.db").read_bytes() == b"x"
    assert (tmp_path / "house.2.db").read_bytes() == b"in the way"


def test_file_that_is_no_exchange_is_refused(tmp_path: Path) -> None:
    """A broken file is named and left alone."""
    path = tmp_path / "x.venue.db"
    path.write_bytes(b"something else" * 500)
    with pytest.raises(Fatal, match=r"x\.venue\.db cannot be used"):
        VenueStore(path, "any")
    assert path.read_bytes() == b"something else" * 500


def test_tables_see_every_field() -> None:
    """The comparison above rests on records having slots."""
    assert all(columns(kind()) for kind in (Market, VenueOrder, Link, CancelRequest, LegAccount))
