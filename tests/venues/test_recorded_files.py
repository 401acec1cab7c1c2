"""Which file belongs to which instrument, and what it holds."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from hedgegrid.errors import Fatal
from hedgegrid.venues.simulated.recorded_files import (
    Kind,
    kind_of,
    match_files,
    match_funding,
    symbol_of,
)

BTC, ETH = "BTC/USDT:USDT", "ETH/USDT:USDT"


def made(folder: Path, *names: str) -> list[Path]:
    """Empty files of the given names."""
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


@pytest.mark.parametrize(
    "name",
    [
        "BTCUSDT-1m.feather",
        "btcusdt.csv",
        "BTC_USDT_USDT-1m-futures.feather",
        "usdm_btcusdt_20230404.dat.gz",
        "BTC-USDT.zip",
    ],
)
def test_names_of_the_field_are_understood(tmp_path: Path, name: str) -> None:
    """Exchange, freqtrade and capture names all tell their instrument, among others."""
    paths = made(tmp_path, name, "ETHUSDT-1m.feather")
    assert match_files(paths, [ETH, BTC]) == {BTC: paths[0], ETH: paths[1]}


def test_a_folder_offers_its_market_files(tmp_path: Path) -> None:
    """Funding, mark prices, other instruments and other files of a folder are not the market."""
    made(tmp_path, "BTCUSDT-funding.feather", "BTCUSDT-1h-mark.feather", "BTCUSDT.txt.md", "SOLUSDT-1m.feather")
    wanted = made(tmp_path, "BTCUSDT-1m.feather", "ETHUSDT-1m.feather")
    assert match_files([tmp_path], [BTC, ETH]) == {BTC: wanted[0], ETH: wanted[1]}
    assert match_funding([tmp_path], [BTC, ETH]) == {BTC: tmp_path / "BTCUSDT-funding.feather"}


def test_similar_names_are_not_the_instrument(tmp_path: Path) -> None:
    """WBTC, BTCUSDC and 1000BTC are other markets."""
    made(tmp_path, "WBTCUSDT-1m.feather", "BTCUSDC-1m.feather", "1000BTCUSDT-1m.feather")
    with pytest.raises(Fatal, match=r"no market file for BTC/USDT:USDT"):
        match_files([tmp_path], [BTC])
    made(tmp_path, "BTCUSDT-1m.feather")
    with pytest.raises(Fatal, match=r"no market file for BTC/USD:USD"):
        match_files([tmp_path], ["BTC/USD:USD"])


def test_two_candidates_are_refused(tmp_path: Path) -> None:
    """Nobody guesses which of two files was meant."""
    made(tmp_path, "BTCUSDT-1m.feather", "BTCUSDT-5m.feather")
    with pytest.raises(Fatal, match=r"BTCUSDT-1m.feather and .*BTCUSDT-5m.feather: more than one file for BTC"):
        match_files([tmp_path], [BTC])


def test_one_file_told_twice_is_one_file(tmp_path: Path) -> None:
    """A folder and a file in it do not contradict each other."""
    paths = made(tmp_path, "BTCUSDT-1m.feather")
    assert match_files([tmp_path, *paths], [BTC]) == {BTC: paths[0]}


def test_a_named_file_of_no_instrument_is_refused(tmp_path: Path) -> None:
    """A file that was asked for is never left out in silence."""
    paths = made(tmp_path, "BTCUSDT-1m.feather", "SOLUSDT-1m.feather")
    with pytest.raises(Fatal, match=r"SOLUSDT-1m.feather: its name is that of no instrument"):
        match_files(paths, [BTC])


@pytest.mark.parametrize("name", ["btc.feather", "my-BTC-bars.csv", "BTCUSDT-1m.feather"])
def test_a_single_file_need_only_name_the_base(tmp_path: Path, name: str) -> None:
    """One file for one instrument may be named freely, but for the base."""
    paths = made(tmp_path, name)
    assert match_files(paths, [BTC]) == {BTC: paths[0]}


@pytest.mark.parametrize("name", ["ETHUSDT-1m.feather", "BTCUSDC-1m.feather", "bars.csv", "ETHBTC.csv"])
def test_a_single_file_of_another_base_is_refused(tmp_path: Path, name: str) -> None:
    """Trading BTC's config on ETH's prices must not happen by a slip."""
    with pytest.raises(Fatal, match="does not contain BTC"):
        match_files(made(tmp_path, name), [BTC])


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    """The path is named, whether the file or its folder is missing."""
    for path in (tmp_path / "BTCUSDT-1m.feather", tmp_path / "none" / "BTCUSDT.csv"):
        with pytest.raises(Fatal, match=r"no such file; check the path") as caught:
            kind_of(match_files([path], [BTC])[BTC])
        assert "\n" not in str(caught.value)


def test_nothing_given_is_one_clear_line() -> None:
    """An empty list of files names the instrument that lacks one."""
    with pytest.raises(Fatal, match="nothing: no market file for BTC/USDT:USDT"):
        match_files([], [BTC])


def test_symbols_are_spelled_as_the_venue_does() -> None:
    """Captures carry the venue's spelling."""
    assert symbol_of(BTC) == "BTCUSDT"


CSV = b"1706745600000,1,1,1,1,1,1706745659999,1,1,1,1,0\n"
CAPTURE = b'1680652700423575 {"stream":"btcusdt@trade","data":{}}\n'


def zipped(content: bytes, *names: str) -> bytes:
    """A zip of members with the same content."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"ARROW1\0\0", Kind.FEATHER),
        (CSV, Kind.ARCHIVE),
        (b"open_time,open\n" + CSV, Kind.ARCHIVE),
        (gzip.compress(CSV, mtime=0), Kind.ARCHIVE),
        (zipped(CSV, "a.csv"), Kind.ARCHIVE),
        (CAPTURE, Kind.CAPTURE),
        (gzip.compress(CAPTURE, mtime=0), Kind.CAPTURE),
        (b'1721347021080838061 {"lastUpdateId":1}', Kind.CAPTURE),
    ],
)
def test_content_tells_the_form(tmp_path: Path, content: bytes, kind: Kind) -> None:
    """A file's name says nothing about its form."""
    path = tmp_path / "BTCUSDT.bin"
    path.write_bytes(content)
    assert kind_of(path) is kind


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "the file is empty"),
        (gzip.compress(b"", mtime=0), "the file is empty"),
        (b"\n\n  \n", "the file is empty"),
        (b"hello world", "of no known form"),
        (b'{"a": 1, "b": 2}', "of no known form"),
        (gzip.compress(CSV, mtime=0)[:12], "cut short or damaged"),
        (zipped(CSV, "a.csv")[:-30], "cut short or damaged"),
        (zipped(CSV, "a.csv", "b.csv"), "the zip holds 2 files"),
        (b"\x1f\x8b" + b"x" * 99, "cut short or damaged"),
    ],
)
def test_content_without_a_form_is_one_clear_line(tmp_path: Path, content: bytes, rule: str) -> None:
    """Empty, truncated, damaged or foreign: the line names the file and the reason."""
    path = tmp_path / "BTCUSDT.csv"
    path.write_bytes(content)
    with pytest.raises(Fatal, match=rule) as caught:
        kind_of(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """What cannot be read is one clear line."""
    with pytest.raises(Fatal, match="cannot be read"):
        kind_of(tmp_path)
