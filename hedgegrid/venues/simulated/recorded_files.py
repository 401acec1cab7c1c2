"""Files of recorded markets: which file belongs to which instrument, what it holds, how it is opened.

Invariants: what a file holds is told by its content, never by its name; the name only tells the instrument, and which
files of a folder are funding or mark prices. Every refusal is one line: file, row, rule, and what to do.
"""

import contextlib
import enum
import gzip
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from hedgegrid.errors import Fatal
from hedgegrid.units import NS_PER_S, TIMEFRAMES_NS

_SUFFIXES = (".feather", ".csv", ".gz", ".zip", ".dat", ".txt")
_FEATHER = (b"ARROW1", b"FEA1")
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_CAPTURE_LINE = re.compile(rb"\s*\d{13,19} \{")
_HEAD_BYTES = 4096
_RENAME = "rename it after the instrument, such as BTCUSDT-1m.feather for BTC/USDT:USDT"


class Kind(enum.Enum):
    """What a file holds: bars as a feather table, bars as the exchange's archive csv, or a websocket capture."""

    FEATHER = "feather"
    ARCHIVE = "archive csv"
    CAPTURE = "websocket capture"


class Subject(enum.Enum):
    """What a file is about, by its name."""

    MARKET = "market"
    FUNDING = "funding"
    MARK = "mark"


def refusal(path: Path, rule: str, remedy: str, row: int | None = None) -> Fatal:
    """Give the error for a file that breaks ``rule``; rows count from 1, lines of text files too."""
    place = "" if row is None else f"row {row}: "
    return Fatal(f"{path}: {place}{rule}; {remedy}")


def utc_text(ts_ns: int) -> str:
    """Write a time for people, to the second."""
    moment = datetime.fromtimestamp(ts_ns // NS_PER_S, tz=UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def length_text(length_ns: int) -> str:
    """Write a bar's length as its timeframe, or in seconds where it is none."""
    names = {length: name for name, length in TIMEFRAMES_NS.items()}
    return names.get(length_ns, f"{length_ns / NS_PER_S:g} s")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is opened or unpacked into one line."""
    fetch = "check the path, or fetch the file again"
    try:
        yield
    except FileNotFoundError:
        raise refusal(path, "no such file", fetch) from None
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise refusal(path, f"the compressed file is cut short or damaged ({error})", fetch) from error
    except OSError as error:
        raise refusal(path, f"it cannot be read ({error.strerror or error})", fetch) from error


def opened(path: Path) -> BinaryIO:
    """Open a file's content, unpacked where it is gzip or a zip of one member. Use inside ``reading``."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise refusal(path, "it cannot be read (no regular file)", "give a file")
    with path.open("rb") as file:
        magic = file.read(len(_ZIP))
    if magic.startswith(_GZIP):
        return cast("BinaryIO", gzip.open(path, "rb"))
    if magic != _ZIP:
        return path.open("rb")
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.namelist() if not member.endswith("/")]
        if len(members) != 1:
            rule = f"the zip holds {len(members)} files, not one"
            raise refusal(path, rule, "unpack it and name one file")
        return cast("BinaryIO", archive.open(members[0]))  # the member keeps the file open; nothing is held whole


def kind_of(path: Path) -> Kind:
    """Tell what a file holds by its first bytes. Raises Fatal where it is empty, unreadable or of no known form."""
    with reading(path), opened(path) as content:
        head = content.read(_HEAD_BYTES)
    if not head.strip():
        raise refusal(path, "the file is empty", "fetch it again")
    if head.startswith(_FEATHER):
        return Kind.FEATHER
    first_line = head.lstrip().partition(b"\n")[0]
    if _CAPTURE_LINE.match(first_line):
        return Kind.CAPTURE
    if b"," in first_line and b"{" not in first_line:
        return Kind.ARCHIVE
    remedy = "give a freqtrade feather, a Binance archive csv (.gz, .zip) or a websocket capture"
    raise refusal(path, "the content is of no known form", remedy)


def match_files(paths: Sequence[Path], instruments: Sequence[str]) -> Mapping[str, Path]:
    """Find the market file of each instrument among files and folders, by base and quote in the name.

    Raises Fatal where an instrument has no file or more than one, or where a file that was named belongs to none. A
    single file for a single instrument need only name the base.
    """
    named = [path for path in paths if not path.is_dir() and _subject(path) is Subject.MARKET]
    if len(instruments) == 1 and len(paths) == len(named) == 1:
        return {instruments[0]: _only_file(named[0], instruments[0])}
    found = _found(paths, instruments, Subject.MARKET)
    for instrument, candidates in found.items():
        if not candidates:
            places = ", ".join(str(path) for path in paths) or "nothing"
            raise Fatal(f"{places}: no market file for {instrument}; {_RENAME}")
    return {instrument: candidates[0] for instrument, candidates in found.items()}


def match_funding(paths: Sequence[Path], instruments: Sequence[str]) -> Mapping[str, Path]:
    """Find the funding files (``BTCUSDT-funding.feather``) among files and folders, for the instruments that have one.

    Raises Fatal where an instrument has more than one, or where a file that was named belongs to none.
    """
    found = _found(paths, instruments, Subject.FUNDING)
    return {instrument: candidates[0] for instrument, candidates in found.items() if candidates}


def symbol_of(instrument: str) -> str:
    """Give the venue's spelling of an instrument: BTCUSDT for BTC/USDT:USDT."""
    base, quote = _currencies(instrument)
    return base + quote


def _found(paths: Sequence[Path], instruments: Sequence[str], subject: Subject) -> dict[str, list[Path]]:
    """List the files about ``subject`` for each instrument; at most one each."""
    found: dict[str, list[Path]] = {instrument: [] for instrument in instruments}
    for path in paths:
        with reading(path):
            files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            if _subject(file) is not subject or (path != file and file.suffix not in _SUFFIXES):
                continue
            owners = [name for name in instruments if _names_instrument(file, name)]
            for owner in owners:
                if file not in found[owner]:
                    found[owner].append(file)
            if not owners and path == file:
                wanted = ", ".join(instruments)
                raise refusal(file, f"its name is that of no instrument ({wanted})", _RENAME)
    for instrument, candidates in found.items():
        if len(candidates) > 1:
            places = " and ".join(str(candidate) for candidate in candidates)
            raise Fatal(f"{places}: more than one file for {instrument}; name the one to use")
    return found


def _only_file(path: Path, instrument: str) -> Path:
    """Give the file if its name holds the instrument's base; Fatal otherwise."""
    base, _ = _currencies(instrument)
    alone = re.search(rf"(?<![A-Z0-9]){re.escape(base)}(?![A-Z0-9])", path.name.upper())
    if alone or _names_instrument(path, instrument):
        return path
    raise refusal(path, f"its name does not contain {base}, the base of {instrument}", _RENAME)


def _names_instrument(path: Path, instrument: str) -> bool:
    """Tell whether a file's name holds base and quote, as in BTCUSDT, btc_usdt or BTC_USDT_USDT."""
    base, quote = _currencies(instrument)
    pair = rf"(?<![A-Z0-9]){re.escape(base)}[_-]?{re.escape(quote)}(?![A-Z0-9])"
    return re.search(pair, path.name.upper()) is not None


def _currencies(instrument: str) -> tuple[str, str]:
    """Split BTC/USDT:USDT into base and quote."""
    base, _, rest = instrument.upper().partition("/")
    return base, rest.partition(":")[0]


def _subject(path: Path) -> Subject:
    """Tell by its name whether a file holds funding rates, mark prices, or the market itself."""
    words = re.split(r"[^a-z]+", path.name.lower())
    if "funding" in words or "fundingrate" in words:
        return Subject.FUNDING
    return Subject.MARK if "mark" in words else Subject.MARKET
