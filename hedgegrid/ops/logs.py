"""Where log lines go: people read them on stderr, machines as JSON lines in files of bounded size.

Invariants: no line holds a given secret, in whatever message, extra value or exception it came, nor what looks like a
credential of an exchange; masking is done once, on the record, before any sink sees it; local variables never reach a
traceback; a sink that fails (a full disk) costs log lines and nothing else.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_plus

from loguru import logger

from hedgegrid.errors import Fatal

if TYPE_CHECKING:
    from loguru import Record

MASK: Final = "***"
FILE_BYTES_MAX: Final = 10_000_000
FILES_MAX: Final = 5
"""Rotated files that are kept beside the one that is written."""
DEPTH_MAX: Final = 6
"""Nesting of an extra value that is looked into; what lies deeper is written as one text."""

_NAMES: Final = r"listen_?key|signature|api_?key|api_?secret|secret|token|password|passphrase|authorization"
_KEYED: Final = re.compile(
    rf"""(?ix) ( (?:{_NAMES}) ["']? \s* [=:] \s* ["']? (?:bearer\s+|basic\s+)? ) [^\s&"',;}})\]]+"""
)
"""A credential by the name before it: in a query, a header, JSON or Python's own notation."""
_SHAPED: Final = re.compile(r"(?<![0-9A-Za-z])(?=[0-9A-Fa-f]*[G-Zg-z])[0-9A-Za-z]{60,128}(?![0-9A-Za-z])")
"""A credential by its shape, as keys and listen keys have it; hashes in hexadecimal do not."""
_NAMED: Final = re.compile(rf"(?i)(?:{_NAMES})$")
"""A name whose value is a credential."""

_CONSOLE: Final = "<dim>{time:HH:mm:ss.SSS}</dim> <level>{level.name: <8}</level> {line_text}\n"
_JSON: Final = "{line_json}\n"


class Masker:
    """Takes secrets out of text and values."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Mask each of ``secrets``, also as a URL, JSON or a repr writes it; empty ones are passed over."""
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._given = re.compile("|".join(map(re.escape, longest_first))) if forms else None

    def text(self, text: str) -> str:
        """Give ``text`` with every secret replaced by the mask."""
        if self._given is not None:
            text = self._given.sub(MASK, text)
        return _SHAPED.sub(MASK, _KEYED.sub(rf"\1{MASK}", text))

    def value(self, value: object, depth: int = 0) -> object:
        """Give ``value`` as JSON can hold it, masked: numbers stay numbers unless they are a secret."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return value if self.text(str(value)) == str(value) else MASK
        if isinstance(value, Mapping) and depth < DEPTH_MAX:
            return {self.text(_text_of(key)): self._entry(key, inner, depth) for key, inner in value.items()}
        if isinstance(value, list | tuple | set | frozenset) and depth < DEPTH_MAX:
            return [self.value(inner, depth + 1) for inner in value]
        return self.text(_text_of(value))

    def _entry(self, key: object, value: object, depth: int) -> object:
        return MASK if isinstance(key, str) and _NAMED.search(key) else self.value(value, depth + 1)


def configure(*, console: bool, level: str, json_path: Path | None, secrets: Sequence[str]) -> None:
    """Send what is logged, the standard library's logging included, to stderr and to files; replaces an earlier setup.

    ``console``: human lines on stderr. ``json_path``: JSON lines there, rotated at ``FILE_BYTES_MAX`` bytes, readable
    by the owner alone. ``secrets``: texts that no line may hold. Raises Fatal for a level that does not exist or a
    file that cannot be written.
    """
    try:
        least = logger.level(level.upper())
    except ValueError:
        raise Fatal(f"there is no log level {level!r}: use debug, info, warning or error") from None
    logger.remove()
    logger.configure(patcher=_patcher(Masker(secrets)), extra={})
    if console:
        colorize = sys.stderr is not None and sys.stderr.isatty()
        logger.add(_to_stderr, level=least.no, format=_console_line, colorize=colorize, diagnose=False, backtrace=False)
    if json_path is not None:
        _add_file(json_path, least.no)
    _route_standard_logging(least.no)


def _forms(secret: str) -> set[str]:
    """Give the ways in which a secret is written: plain, in a URL, in JSON, in a repr."""
    escaped = json.dumps(secret)[1:-1], repr(secret)[1:-1], ascii(secret)[1:-1]
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), *escaped}


def _text_of(value: object) -> str:
    try:
        return str(value)
    except Exception as fault:  # broad: a value that cannot be shown may raise anything, and a log line harms nobody
        return f"<a {type(value).__name__} that fails to show itself: {type(fault).__name__}>"


def _patcher(masker: Masker) -> Callable[["Record"], None]:
    def patch(record: "Record") -> None:
        fields: dict[str, Any] = record  # type: ignore[assignment]  # what the formats show has keys of its own
        fault = record["exception"]
        fields["message"] = masker.text(record["message"])
        fields["extra"] = masker.value(record["extra"])
        fields["fault_text"] = None
        if fault is not None:
            # Written here, with its notes and causes, so that no sink gets the exception itself.
            lines = traceback.format_exception(fault.type, fault.value, fault.traceback)
            fields["fault_text"] = masker.text("".join(lines)).rstrip("\n")
            fields["exception"] = None

    return patch


def _console_line(record: "Record") -> str:
    fields: dict[str, Any] = record  # type: ignore[assignment]  # as in the patcher
    tail = "".join(f" {name}={value}" for name, value in record["extra"].items())
    fault = "" if fields["fault_text"] is None else f"\n{fields['fault_text']}"
    fields["line_text"] = f"{record['message']}{tail}{fault}"
    return _CONSOLE


def _json_line(record: "Record") -> str:
    fields: dict[str, Any] = record  # type: ignore[assignment]  # as in the patcher
    line: dict[str, object] = {
        "time": record["time"].isoformat(),
        "level": record["level"].name,
        "logger": record["name"],
        "function": record["function"],
        "line": record["line"],
        "message": record["message"],
    }
    if record["extra"]:
        line["extra"] = record["extra"]
    if fields["fault_text"] is not None:
        line["exception"] = fields["fault_text"]
    fields["line_json"] = json.dumps(line, ensure_ascii=False)
    return _JSON


def _to_stderr(line: str) -> None:
    """Write to whatever stderr is now: a live display puts itself in its place to stay below the lines."""
    if sys.stderr is not None:
        sys.stderr.write(line)


def _add_file(path: Path, level: int) -> None:
    try:
        logger.add(
            path,
            level=level,
            format=_json_line,
            rotation=FILE_BYTES_MAX,
            retention=FILES_MAX,
            opener=lambda name, flags: os.open(name, flags, 0o600),
            encoding="utf-8",
            diagnose=False,
            backtrace=False,
        )
    except OSError as fault:
        raise Fatal(f"cannot write logs to {path}: {fault.strerror}") from fault


class _IntoLoguru(logging.Handler):
    """Passes the standard library's records on, with level, place and exception."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log ``record`` as if its caller had used loguru."""
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        try:
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):
            text = f"{record.msg} {record.args}"  # its arguments do not fit: better raw than lost

        def place(taken: "Record") -> None:
            taken["name"], taken["function"], taken["line"] = record.name, record.funcName, record.lineno

        logger.patch(place).opt(exception=record.exc_info).log(level, "{}", text)


def _route_standard_logging(level: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_IntoLoguru()]  # any other would write what this one masks
    root.setLevel(level)
    # It tells how to end the server by its own keys, which the run does not give it.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
