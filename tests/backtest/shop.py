"""A folder with a config and a market for the tests of the backtest's commands, and every way to spoil it.

Invariant: a spoiler changes files of its own shop alone, and gives the options that go with what it spoilt.
"""

import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner, Result

from hedgegrid.backtest_commands import backtest
from hedgegrid.config.render import render_effective
from hedgegrid.config.schema import AccountConfig
from hedgegrid.data_commands import store_commands
from tests.actors.house import BTC, checked, document, settings
from tests.backtest.store.samples import archive, bring, write
from tests.core.made import walk

Bars = list[tuple[int, str, str, str, str, str]]
ETH = "ETH/USDT:USDT"


def bars(count: int = 150, seed: int = 4) -> Bars:
    """Bars of a made market from 2025-02-01 on, in quote."""
    rows = walk(seed, count)
    return [(minute, *(str(Decimal(ticks) / 10) for ticks in row), "1.5") for minute, row in enumerate(rows)]  # type: ignore[misc]


def saved(path: Path, config: AccountConfig) -> Path:
    """A config as a file."""
    path.write_text(render_effective(config, comments=False), encoding="utf-8")
    return path


@attrs.frozen(kw_only=True)
class Shop:
    """A folder with a config and a market, in which commands are called."""

    root: Path

    @property
    def config(self) -> Path:
        """The config's file."""
        return self.root / "house.toml"

    @property
    def market(self) -> Path:
        """The market's file."""
        return self.root / "BTCUSDT-1m.csv"

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.root / "results" / "one"

    def call(self, *more: object) -> Result:
        """Run `backtest` over the shop's market or another that is named, without a report."""
        market = () if "--data" in more else ("--data", self.market)
        return self.bare("--config", self.config, *market, "--no-report", *more)

    def bare(self, *arguments: object) -> Result:
        """Run `backtest` with nothing but these arguments."""
        return CliRunner().invoke(backtest, [str(argument) for argument in arguments])

    def use(self, rows: Bars) -> None:
        """Replace the market."""
        write(self.market, archive(rows))

    def set(self, **changes: dict[str, Any]) -> None:
        """Replace the config."""
        saved(self.config, settings(self.root, **changes))


Spoiler = Callable[[Shop], tuple[object, ...]]

# --- spoilt -----------------------------------------------------------------------------------------------------------


def missing(shop: Shop) -> tuple[object, ...]:
    """A market that is not there."""
    shop.market.unlink()
    return ()


def empty_folder(shop: Shop) -> tuple[object, ...]:
    """A folder without a market."""
    (shop.root / "empty").mkdir()
    return ("--data", shop.root / "empty")


def empty_file(shop: Shop) -> tuple[object, ...]:
    """A file of no bytes."""
    shop.market.write_bytes(b"")
    return ()


def heading_only(shop: Shop) -> tuple[object, ...]:
    """A file with a heading and no bar."""
    shop.use([])
    return ()


def damaged_text(shop: Shop) -> tuple[object, ...]:
    """A price that is no number."""
    shop.market.write_text(shop.market.read_text().replace("1000", "1oo0", 1))
    return ()


def damaged_archive(shop: Shop) -> tuple[object, ...]:
    """A gzip file that ends in the middle."""
    torn = write(shop.root / "BTCUSDT-1m.csv.gz", shop.market.read_text())
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    return ("--data", torn)


def damaged_feather(shop: Shop) -> tuple[object, ...]:
    """A table whose bytes are not one."""
    torn = shop.root / "BTCUSDT-1m.feather"
    torn.write_bytes(b"ARROW1\0\0" + bytes(range(200)))
    return ("--data", torn)


def strange_config(shop: Shop) -> tuple[object, ...]:
    """Settings that say nothing known."""
    shop.config.write_text('[acount]\nname = "x"\n')
    return ()


def no_config(shop: Shop) -> tuple[object, ...]:
    """Settings that are not there."""
    shop.config.unlink()
    return ()


def several_timeframes(shop: Shop) -> tuple[object, ...]:
    """Two grids of different bars."""
    text = document(shop.root)
    first = text["grid"][0]
    text["grid"] = [first, {**first, "instrument": ETH, "timeframe": "5m"}]
    text["sim"] = {"market": "synthetic", "instrument": {name: {"min_notional": 0} for name in (BTC, ETH)}}
    saved(shop.config, checked(text))
    return ()


def other_timeframe(shop: Shop) -> tuple[object, ...]:
    """A grid of five minutes over bars of one."""
    text = document(shop.root)
    text["grid"][0]["timeframe"] = "5m"
    saved(shop.config, checked(text))
    return ()


def other_instrument(shop: Shop) -> tuple[object, ...]:
    """A grid on an instrument that no file is of."""
    text = document(shop.root)
    text["grid"][0]["instrument"] = ETH
    text["sim"]["instrument"] = {ETH: {"min_notional": 0}}
    saved(shop.config, checked(text))
    return ()


def after_the_market(_: Shop) -> tuple[object, ...]:
    """Decisions from a day on that the market does not reach."""
    return ("--from", "2026-01-01")


def before_the_market(_: Shop) -> tuple[object, ...]:
    """A market that ends before it begins."""
    return ("--to", "2024-01-01")


def backwards(_: Shop) -> tuple[object, ...]:
    """An end before the beginning."""
    return ("--from", "2025-02-02", "--to", "2025-02-01")


def a_gap(shop: Shop) -> tuple[object, ...]:
    """Missing bars, where they are not accepted."""
    shop.use([row for row in bars() if not 70 <= row[0] < 75])
    return ("--strict",)


def an_outlier(shop: Shop) -> tuple[object, ...]:
    """One bar far from its neighbours, where that is not accepted."""
    rows = bars()
    rows[80] = (80, "3000.0", "3000.0", "3000.0", "3000.0", "1.5")
    shop.use(rows)
    return ("--strict",)


def two_sources(shop: Shop) -> tuple[object, ...]:
    """Files and a journal."""
    return ("--from-journal", shop.root / "house.db")


def around_the_market(shop: Shop) -> tuple[object, ...]:
    """An output folder that the market lies in."""
    assert shop.call("--out", shop.out).exit_code == 0
    shutil.copy(shop.market, shop.out)
    return ("--data", shop.out / shop.market.name, "--out", shop.out, "--force")


def taken_folder(shop: Shop) -> tuple[object, ...]:
    """An output folder with somebody's file in it."""
    shop.out.mkdir(parents=True)
    (shop.out / "notes.txt").write_text("mine")
    return ("--out", shop.out)


def foreign_folder(shop: Shop) -> tuple[object, ...]:
    """The same by force: only a result is replaced."""
    return (*taken_folder(shop), "--force")


def file_as_folder(shop: Shop) -> tuple[object, ...]:
    """An output folder whose name is a file's."""
    (shop.root / "file").write_text("mine")
    return ("--out", shop.root / "file")


def stored(shop: Shop) -> Path:
    """The shop's market in a store, with the rules of the snapshot."""
    root = shop.root / "store"
    result = CliRunner().invoke(store_commands, ["import", str(shop.market), "--store", str(root)])
    assert result.exit_code == 0, result.stderr
    return root


def other_in_store(shop: Shop) -> tuple[object, ...]:
    """A grid on an instrument that the store does not know."""
    root = stored(shop)
    other_instrument(shop)
    return ("--data", root)


def damaged_store(shop: Shop) -> tuple[object, ...]:
    """A month's file that ends in the middle."""
    root = stored(shop)
    (month,) = root.rglob("*.parquet")
    month.write_bytes(month.read_bytes()[: month.stat().st_size // 2])
    return ("--data", root)


def store_without_rules(shop: Shop) -> tuple[object, ...]:
    """A store that nobody told what the instrument is."""
    bring(shop.root / "store", shop.market)
    return ("--data", shop.root / "store")


def store_of_other_bars(shop: Shop) -> tuple[object, ...]:
    """Bars of a minute where five are asked for, and no trades to make them of."""
    root = stored(shop)
    other_timeframe(shop)
    return ("--data", root)


def store_and_file(shop: Shop) -> tuple[object, ...]:
    """A store beside a file."""
    return ("--data", stored(shop), "--data", shop.market)


def store_before(shop: Shop) -> tuple[object, ...]:
    """A span that the store holds nothing of."""
    return ("--data", stored(shop), "--from", "2026-01-01")


def store_with_a_gap(shop: Shop) -> tuple[object, ...]:
    """A gap that is not accepted."""
    a_gap(shop)
    return ("--data", stored(shop), "--strict")


CASES: list[tuple[Spoiler, tuple[str, ...]]] = [
    (missing, ("BTCUSDT-1m.csv", "no such file")),
    (empty_folder, ("empty",)),
    (empty_file, ("BTCUSDT-1m.csv",)),
    (heading_only, ("BTCUSDT-1m.csv",)),
    (damaged_text, ("BTCUSDT-1m.csv", "1oo0")),
    (damaged_archive, ("BTCUSDT-1m.csv.gz",)),
    (damaged_feather, ("BTCUSDT-1m.feather",)),
    (strange_config, ("acount",)),
    (no_config, ("house.toml",)),
    (several_timeframes, ("one timeframe",)),
    (other_timeframe, ("5m",)),
    (other_instrument, ("ETH",)),
    (after_the_market, ("--from", "2025-02-01")),
    (before_the_market, ("--to", "2025-02-01")),
    (backwards, ("--to", "--from")),
    (a_gap, ("missing", "--strict")),
    (an_outlier, ("--strict",)),
    (two_sources, ("--from-journal", "--data")),
    (around_the_market, ("--out", "--data")),
    (taken_folder, ("not empty", "--force")),
    (foreign_folder, ("summary.json",)),
    (file_as_folder, ("file",)),
    (other_in_store, (ETH,)),
    (damaged_store, ("parquet",)),
    (store_without_rules, ("rules",)),
    (store_of_other_bars, ("bars-5m", "bars-1m")),
    (store_and_file, ("alone",)),
    (store_before, ("--from", "2025-02-01 00:00:00")),
    (store_with_a_gap, ("missing", "--strict")),
]
"""Each spoiler, and words of the line that answers it."""
