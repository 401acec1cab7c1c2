"""Reads an account's TOML file.

Invariants: `load` gives a config that satisfies the whole schema or one `ConfigError` with every fault of the file,
a line for each; a limit of `[risk]` never applies by default in live mode; nothing of the file but names, numbers
and options is repeated in a message.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

import tomli

from hedgegrid.config.fields import Problem, Section, is_section, settings_of
from hedgegrid.config.risk import KillSwitchConfig, RiskConfig
from hedgegrid.config.schema import ACCOUNT_NAME, AccountConfig
from hedgegrid.config.structure import structure
from hedgegrid.errors import Fatal

_BYTES_MAX = 1_048_576


class ConfigError(Fatal):
    """A config cannot be used: `problems` holds a line for each fault, `path` says which file."""

    def __init__(self, problems: tuple[str, ...], path: str) -> None:
        """Keep the lines; the text is all of them."""
        super().__init__("\n".join(problems))
        self.problems = problems
        self.path = path


def load(path: Path) -> AccountConfig:
    """Read the config in a file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or does not satisfy the schema.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_BYTES_MAX + 1)
    except OSError as fault:
        raise _refusal(path, f"cannot be read: {fault.strerror}") from None
    except ValueError:
        raise _refusal(path, "is not a path") from None
    if len(content) > _BYTES_MAX:
        raise _refusal(path, f"is larger than {_BYTES_MAX} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        raise _refusal(path, f"is not UTF-8 text (line {line})") from None
    return loads(text, str(path))


def loads(text: str, origin: str) -> AccountConfig:
    """Read a config from text; `origin` names it in messages.

    Raises:
        ConfigError: it is not TOML, or does not satisfy the schema.
    """
    document = _with_journal_path(_parse(text, origin))
    config, problems = structure(document)
    lines = [*problems, *_absent_limits(document)]
    if config is None or lines:
        raise ConfigError(tuple(f"{origin}: {each.path}: {each.message}" for each in lines), origin)
    return config


def _refusal(path: Path, why: str) -> ConfigError:
    """Word why a file is not even text."""
    shown = ascii(str(path))[1:-1]
    return ConfigError((f"{shown}: {why}",), str(path))


def _parse(text: str, origin: str) -> dict[str, object]:
    """Parse TOML with its decimals kept exactly.

    Raises:
        ConfigError: naming line and column.
    """
    try:
        return tomli.loads(text, parse_float=_exact)
    except tomli.TOMLDecodeError as fault:
        line = f"{origin}:{fault.lineno}:{fault.colno}: not valid TOML: {fault.msg}"
    except ValueError:
        line = f"{origin}: not valid TOML: a number is too long"
    except RecursionError:
        line = f"{origin}: not valid TOML: nested too deeply"
    # Raised outside: the parser's error carries the whole text, secrets in wrong places included.
    raise ConfigError((line,), origin)


def _exact(literal: str) -> Decimal:
    """Keep a decimal as written; one beyond Decimal's range becomes NaN, which the schema refuses by path."""
    try:
        return Decimal(literal)
    except InvalidOperation:
        return Decimal("NaN")


def _with_journal_path(document: dict[str, object]) -> dict[str, object]:
    """Give each account a journal of its own by default: `state/NAME.db`."""
    account, journal = document.get("account", {}), document.get("journal", {})
    if not isinstance(account, dict) or not isinstance(journal, dict):
        return document
    name = account.get("name")
    if not isinstance(name, str) or ACCOUNT_NAME(name) is not None:
        return document
    return {**document, "journal": {"path": f"state/{name}.db", **journal}}


def _absent_limits(document: Mapping[str, object]) -> Iterator[Problem]:
    """Every key of `[risk]` that a live config leaves to a default."""
    account = document.get("account")
    if isinstance(account, dict) and account.get("mode") == "live":
        yield from _absent(RiskConfig, document.get("risk", {}), "risk")


def _absent(cls: type[Section], raw: object, path: str) -> Iterator[Problem]:
    """Walk a section of limits and what the file gives of it."""
    if not isinstance(raw, dict):
        return  # refused by the schema already
    for setting in settings_of(cls):
        place = f"{path}.{setting.key}"
        if setting.type is KillSwitchConfig:
            continue  # it has no limit, and its defaults are the strongest
        if is_section(setting.type):
            yield from _absent(setting.type, raw.get(setting.key, {}), place)
        elif setting.key not in raw:
            yield Problem(path=place, message="must be given: in live mode no limit has a default")
