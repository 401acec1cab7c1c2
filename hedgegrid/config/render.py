"""Writes settings as TOML: for `check`, for `init`, and as the text that identifies a config.

Invariants: what is written loads again into an equal config; equal configs give equal texts; there is no secret to
leak, for a config holds references only, and these are left out of the hash.
"""

import hashlib
import typing
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Literal

import attrs

from hedgegrid.config.fields import Section, Setting, settings_of
from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.secrets import SecretRef
from hedgegrid.config.values import key_text, plain, quoted

_COMMENT_COLUMN = 40
_UNITS_SAID = frozenset({"bps", "ratio", "quote", "base", "price", "ms", "s", "minutes", "hours", "steps", "bars"})


def render_effective(config: AccountConfig, *, comments: bool = True) -> str:
    """Write every setting with its effective value, secrets as references with `***` in place of the value.

    With `comments`, each line carries meaning and unit, and absent optional settings appear commented out.
    """
    return "".join(f"{line}\n" for line in _section_lines(config, "", comments=comments, secrets=True)).lstrip("\n")


def config_hash(config: AccountConfig) -> str:
    """SHA-256 (hex) of the canonical text of a config, secret references left out."""
    text = "".join(f"{line}\n" for line in _section_lines(config, "", comments=False, secrets=False))
    return hashlib.sha256(text.encode()).hexdigest()


def inline(value: object) -> str:
    """Write a value of a setting as TOML on one line.

    Raises:
        TypeError: no setting has a value of this kind.
    """
    match value:
        case bool():
            text = "true" if value else "false"
        case int() | Decimal():
            text = plain(value)
        case str():
            text = quoted(value)
        case SecretRef():
            text = _inline_table({"env": value.env, "file": value.file})
        case tuple():
            text = f"[{', '.join(inline(each) for each in value)}]"
        case Section():
            text = _inline_table({each.key: getattr(value, each.name) for each in settings_of(type(value))})
        case Mapping():
            text = _inline_table(value)
        case _:
            raise TypeError(f"no setting is a {type(value).__name__}")
    return text


def _inline_table(entries: Mapping[str, object]) -> str:
    """Write a table on one line; what is absent is left out."""
    pairs = [f"{key_text(key)} = {inline(value)}" for key, value in entries.items() if value is not None]
    return f"{{ {', '.join(pairs)} }}" if pairs else "{}"


@attrs.frozen(kw_only=True)
class _Block:
    """A section under a heading of its own: `place` is its path, `array` tells [[place]] from [place]."""

    place: str
    section: Section
    doc: str
    array: bool = False

    def heading(self, *, comments: bool) -> str:
        """Write the heading, with the meaning of the section behind it."""
        text = f"[[{self.place}]]" if self.array else f"[{self.place}]"
        return f"{text.ljust(_COMMENT_COLUMN)}  # {self.doc}" if comments else text


def _section_lines(section: Section, path: str, *, comments: bool, secrets: bool) -> Iterator[str]:
    """Write a section: its own values first, then the sections inside it."""
    blocks: list[_Block] = []
    for setting in settings_of(type(section)):
        value = getattr(section, setting.name)
        if setting.unit in {"section", "rows"} and not setting.inline:
            blocks += _blocks(setting, value, path)
            continue
        line = _value_line(setting, value, comments=comments)
        if line is not None and (secrets or not isinstance(value, SecretRef)):
            yield line
    for block in blocks:
        yield from ("", block.heading(comments=comments))
        yield from _section_lines(block.section, block.place, comments=comments, secrets=secrets)


def _blocks(setting: Setting, value: object, path: str) -> Iterator[_Block]:
    """Sections of a setting that is written under headings."""
    place = f"{path}.{setting.key}" if path else setting.key
    if isinstance(value, Section):
        yield _Block(place=place, section=value, doc=setting.doc)
    elif isinstance(value, tuple):
        yield from (_Block(place=place, section=each, doc=setting.doc, array=True) for each in value)
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield _Block(place=f"{place}.{key_text(key)}", section=value[key], doc=setting.doc)


def _value_line(setting: Setting, value: object, *, comments: bool) -> str | None:
    """Write one setting on its line, or None where there is nothing to write."""
    absent = value is None or value == ()
    if absent and not comments:
        return None
    ordered = {key: value[key] for key in sorted(value)} if isinstance(value, Mapping) else value
    text = f"# {setting.key} =" if absent else f"{setting.key} = {inline(ordered)}"
    if not comments:
        return text
    shown = "; value ***" if isinstance(value, SecretRef) else ""
    return f"{text.ljust(_COMMENT_COLUMN)}  # {_meaning(setting)}{shown}"


def _meaning(setting: Setting) -> str:
    """Say unit or options, and meaning, of a setting for a comment."""
    if typing.get_origin(setting.type) is Literal and len(typing.get_args(setting.type)) > 1:
        return f"{' | '.join(typing.get_args(setting.type))}: {setting.doc}"
    return f"{setting.unit}: {setting.doc}" if setting.unit in _UNITS_SAID else setting.doc
