"""Downloads against the exchange's REST shapes on loopback: holes, faults on the way, kills, rules of the day."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.backtest.store.downloading import DownloadReport, Wanted, download, holes
from hedgegrid.backtest.store.reader import Store
from hedgegrid.backtest.store.series import Kind, SeriesName
from hedgegrid.backtest.store.verifying import verify_store
from hedgegrid.data_commands import store_commands
from hedgegrid.errors import Fatal
from hedgegrid.units import NS_PER_DAY, NS_PER_MINUTE
from hedgegrid.venues.ccxtpro import history as history_module
from hedgegrid.venues.ccxtpro.history import History
from hedgegrid.venues.ccxtpro.parse_history import BadAnswerError, agg_trades, funding_rates, klines, server_ms
from tests.backtest.store.samples import (
    BARS,
    IMPORTED,
    NAME,
    START_MS,
    START_NS,
    archive,
    bring,
    candles,
    joined,
    tree,
    write,
)
from tests.backtest.store.stand_in import Exchange, Fault, cut, hang_up, kline, refuse, serving, short

AGG = SeriesName(instrument=NAME, kind=Kind.AGG_TRADES)
FUNDING = SeriesName(instrument=NAME, kind=Kind.FUNDING)
MARK = SeriesName(instrument=NAME, kind=Kind.MARK_BARS, length_ns=NS_PER_MINUTE)


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """An exchange that answers."""
    with serving() as one:
        yield one


def fetch(
    root: Path,
    exchange: Exchange,
    series: SeriesName,
    days: float,
    *,
    waits: list[float] | None = None,
    keep_rows: int = 10**6,
) -> DownloadReport:
    """Download some days from the start, without waiting in earnest and without ccxt's own pace."""
    slept: list[float] = [] if waits is None else waits
    with History(rest_url=exchange.url, sleep=slept.append) as history:
        history._exchange.enableRateLimit = False
        wanted = Wanted(series=series, from_ns=START_NS, to_ns=START_NS + int(days * NS_PER_DAY))
        return download(root, history, wanted, imported=lambda: IMPORTED, keep_rows=keep_rows)


def times(root: Path, series: SeriesName) -> list[int]:
    """The stored times, in minutes after the start."""
    return [(ts_ns - START_NS) // NS_PER_MINUTE for ts_ns in joined(list(Store(root).batches(series)))["ts_ns"]]


def asked(exchange: Exchange, endpoint: str) -> int:
    """How often an endpoint was asked."""
    return sum(path.endswith(f"/{endpoint}") for path, _ in exchange.asked)


@pytest.mark.parametrize("series", [BARS, MARK])
def test_bars_come_whole(tmp_path: Path, exchange: Exchange, series: SeriesName) -> None:
    """Bars come page by page, in the store's units, and nothing is missing."""
    report = fetch(tmp_path, exchange, series, 2.5)
    assert report.rows == 3600
    assert times(tmp_path, series) == list(range(3600))
    assert joined(list(Store(tmp_path).batches(series)))["close_e8"][:2] == [10130000000, 10230000000]
    assert asked(exchange, "klines" if series is BARS else "markPriceKlines") == 3
    assert all("signature" not in query for _, query in exchange.asked)


def test_bars_that_are_not_closed_are_left(tmp_path: Path, exchange: Exchange) -> None:
    """The bar that the exchange's clock is in is not stored, whatever the caller asks for."""
    exchange.now_ms = START_NS // 10**6 + 90 * 60_000 + 30_000
    report = fetch(tmp_path, exchange, BARS, 5)
    assert times(tmp_path, BARS) == list(range(90))
    assert report.to_ns == START_NS + 90 * NS_PER_MINUTE


def test_only_what_is_missing_is_asked_for(tmp_path: Path, exchange: Exchange) -> None:
    """A second download asks for nothing; a store with holes asks for its holes and its end."""
    parts = [*candles(100), *candles(100, 1000)]
    bring(tmp_path, write(tmp_path / "in" / "BTCUSDT-1m.csv", archive(parts)))
    first = fetch(tmp_path, exchange, BARS, 1)
    assert (first.spans, first.rows) == (2, 1440 - 200)
    assert times(tmp_path, BARS) == list(range(1440))
    before, count = tree(tmp_path), asked(exchange, "klines")
    again = fetch(tmp_path, exchange, BARS, 1)
    assert (again.spans, again.rows, asked(exchange, "klines")) == (0, 0, count)
    assert {name: content for name, content in tree(tmp_path).items() if name.endswith("parquet")} == {
        name: content for name, content in before.items() if name.endswith("parquet")
    }


def test_funding_and_aggregates_come_whole(tmp_path: Path, exchange: Exchange) -> None:
    """Settlements stand at their minute; aggregates have every number once, and go on from the last."""
    fetch(tmp_path, exchange, FUNDING, 5)
    assert times(tmp_path, FUNDING) == [480 * place for place in range(15)]
    assert Store(tmp_path).funding(NAME).rate_e8.tolist() == [10_000] * 15
    fetch(tmp_path, exchange, AGG, 0.25)
    numbers = joined(list(Store(tmp_path).batches(AGG)))["trade_id"]
    assert numbers == list(range(1000, 1000 + len(numbers)))
    assert len(numbers) == -(-6 * 3600 // 7)
    fetch(tmp_path, exchange, AGG, 0.5)
    numbers = joined(list(Store(tmp_path).batches(AGG)))["trade_id"]
    assert numbers == list(range(1000, 1000 + -(-12 * 3600 // 7)))
    assert not [report for report in verify_store(Store(tmp_path)) if report.findings or report.broken]


def test_rules_of_the_day_are_stored(tmp_path: Path, exchange: Exchange) -> None:
    """Rules carry the exchange's day and their sources; margin tiers that were not told are said to be absent."""
    report = fetch(tmp_path, exchange, BARS, 0.1)
    assert report.rules.date == "2025-02-11"
    (rules,) = Store(tmp_path).rules(NAME)
    assert str(rules.decimal("funding_interval_hours")) == "8"
    assert "tiers: not known; the exchange tells it only to signed requests, and no keys were given" in rules.notes
    assert "ccxt" in rules.fields["maker_fee"].source
    with History(rest_url=exchange.url, api_key="key", api_secret="secret") as history:
        listed = history.rules(NAME)
    assert listed.tiers == (("300000", "0.004"), ("800000", "0.005"))
    assert listed.told["maker_fee"] == ("0.000180", "commissionRate")


@pytest.mark.parametrize(
    "fault",
    [cut, short, hang_up, refuse(500), refuse(503), refuse(429), refuse(418), refuse(504)],
    ids=["cut", "short", "hang_up", "500", "503", "429", "418", "504"],
)
def test_faults_on_the_way_are_tried_again(exchange: Exchange, fault: Fault) -> None:
    """A cut connection, half an answer, a busy or limiting exchange cost a wait and nothing else."""
    waits: list[float] = []
    with History(rest_url=exchange.url, sleep=waits.append) as history:
        history._exchange.enableRateLimit = False
        exchange.faults = [fault, fault, fault]
        (page,) = history.bars(NAME, NS_PER_MINUTE, START_NS, START_NS + 5 * NS_PER_MINUTE)
    assert page.columns["ts_ns"].tolist() == [START_NS + place * NS_PER_MINUTE for place in range(5)]
    assert waits == [1.0, 2.0, 4.0]
    assert asked(exchange, "klines") == 4


def test_a_limit_waits_as_long_as_it_asks(exchange: Exchange) -> None:
    """Retry-After is obeyed; a ban of hours ends the download with the reason instead of sleeping through it."""
    waits: list[float] = []
    with History(rest_url=exchange.url, sleep=waits.append) as history:
        exchange.faults = [refuse(429, headers={"Retry-After": "17"})]
        assert history.server_ns() == exchange.now_ms * 10**6
        assert waits == [17.0]
        exchange.faults = [refuse(418, headers={"Retry-After": "7200"})]
        with pytest.raises(Fatal, match="the exchange asks to wait 7200 s: run it again then"):
            history.server_ns()


def test_refusals_are_not_repeated(exchange: Exchange) -> None:
    """What the exchange will never answer is asked once."""
    with History(rest_url=exchange.url, sleep=lambda _s: None) as history:
        exchange.faults = [refuse(400, -1121)]
        with pytest.raises(Fatal, match=r"Time: the exchange refused: .*-1121"):
            history.server_ns()
    assert len(exchange.asked) == 1


def test_giving_up_keeps_what_came(tmp_path: Path, exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange that stays away is one line; what came is stored, and the next run goes on there."""
    monkeypatch.setattr(history_module, "ATTEMPTS", 3)
    answers = exchange.answer

    def failing(path: str, query: dict[str, str]) -> object:
        if path.endswith("/klines") and asked(exchange, "klines") == 2:
            exchange.faults = [hang_up, hang_up]
            return {"code": -1000, "msg": "planted"}
        return answers(path, query)

    monkeypatch.setattr(Exchange, "answer", lambda _self, path, query: failing(path, query))
    with pytest.raises(Fatal, match="Klines: "):
        fetch(tmp_path, exchange, BARS, 3)
    assert times(tmp_path, BARS) == list(range(1500))
    monkeypatch.setattr(Exchange, "answer", lambda _self, path, query: answers(path, query))
    exchange.faults = []
    report = fetch(tmp_path, exchange, BARS, 3)
    assert report.rows == 3 * 1440 - 1500
    assert times(tmp_path, BARS) == list(range(3 * 1440))


CHILD = """
import os, signal, sys
from pathlib import Path
from hedgegrid.backtest.store import downloading
from tests.backtest.store.samples import BARS
from tests.backtest.store.stand_in import Exchange
from tests.backtest.store.test_download import fetch

class Dies(downloading._Keeper):
    def take(self, page):
        super().take(page)
        if self.rows >= 4500:
            os.kill(os.getpid(), signal.SIGKILL)

downloading._Keeper = Dies
fetch(Path(sys.argv[1]), Exchange(url=sys.argv[2]), BARS, 5, keep_rows=3000)
"""


def test_a_killed_download_goes_on(tmp_path: Path, exchange: Exchange) -> None:
    """After kill -9 what was kept is whole, and the next run fetches only the rest."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    child = subprocess.run([sys.executable, "-c", CHILD, tmp_path, exchange.url], env=environment, check=False)
    assert child.returncode == -signal.SIGKILL
    assert times(tmp_path, BARS) == list(range(3000))
    report = fetch(tmp_path, exchange, BARS, 5)
    assert report.rows == 5 * 1440 - 3000
    assert times(tmp_path, BARS) == list(range(5 * 1440))


def test_what_is_there_stays(tmp_path: Path, exchange: Exchange) -> None:
    """A row that the store has is not asked for again, and not replaced by what the exchange says now."""
    rows = [(minute, "1", "1", "1", "1", "1") for minute in range(1, 3)]
    bring(tmp_path, write(tmp_path / "in" / "BTCUSDT-1m.csv", archive(rows)))
    report = fetch(tmp_path, exchange, BARS, 0.01)
    assert report.rows == 12
    assert joined(list(Store(tmp_path).batches(BARS)))["close_e8"][1] == 10**8


@pytest.mark.parametrize("url", ["http://example.com", "ftp://127.0.0.1", "127.0.0.1:9000"])
def test_plain_http_leaves_no_machine(url: str) -> None:
    """Plain http is for loopback alone."""
    with pytest.raises(Fatal, match="the address must begin with https://"):
        History(rest_url=url)


@given(st.sets(st.integers(0, 50)), st.integers(0, 20), st.integers(20, 60), st.integers(1, 7))
def test_holes_are_what_is_left_out(there: set[int], start: int, stop: int, size: int) -> None:
    """Holes and what is there make up the span, however it comes in pieces."""
    values = np.array(sorted(one for one in there if start <= one < stop), np.int64)
    parts = [values[at : at + size] for at in range(0, len(values), size)]
    found = list(holes(parts, (start, stop), 1))
    missing = [one for first, last in found for one in range(first, last)]
    assert missing == [one for one in range(start, stop) if one not in there]


@pytest.mark.parametrize(
    "answer",
    [None, {}, "half", [[]], [[1, "x", "1", "1", "1", "1"]], [{"a": 1}], [[2, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]],
)
def test_answers_of_another_shape_are_refused(answer: object) -> None:
    """No parser takes what it was not asked for; each says so in one way."""
    with pytest.raises(BadAnswerError):
        klines(answer, NS_PER_MINUTE, closed_by_ms=10**13, has_volume=True)
    with pytest.raises(BadAnswerError):
        agg_trades(answer if answer != [[]] else [{}])
    with pytest.raises(BadAnswerError):
        funding_rates(answer)
    with pytest.raises(BadAnswerError):
        server_ms(answer)


def test_open_bars_are_not_read() -> None:
    """A bar that had not closed by the given time of the exchange's is left out of its answer."""
    answer = [kline(START_MS + minute * 60_000, mark=False) for minute in range(3)]
    read = klines(answer, NS_PER_MINUTE, closed_by_ms=START_MS + 2 * 60_000, has_volume=True)
    assert read["ts_ns"].tolist() == [START_NS, START_NS + NS_PER_MINUTE]


def command(exchange: Exchange, root: Path, *more: str) -> Result:
    """Run the command for a day of bars."""
    fixed = ["download", "--instrument", NAME, "--from", "2025-02-01", "--to", "2025-02-02", "--store", str(root)]
    return CliRunner().invoke(store_commands, [*fixed, "--rest-url", exchange.url, *more])


def test_the_command(tmp_path: Path, exchange: Exchange) -> None:
    """The command says what came and which rules were stored; a refusal is one line with code 2."""
    result = command(exchange, tmp_path)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "BTC/USDT:USDT bars-1m: 1,440 new rows, up to 2025-02-02 00:00:00 UTC",
        "rules of 2025-02-11 stored",
    ]
    assert "tiers: not known" in result.stderr
    told = json.loads(command(exchange, tmp_path, "--json", "--kind", "funding").stdout)
    assert (told["rows"], told["rules"]["date"]) == (3, "2025-02-11")
    exchange.faults = [refuse(400, -1121)]
    refused = command(exchange, tmp_path)
    assert refused.exit_code == 2
    assert len(refused.stderr.splitlines()) == 1
