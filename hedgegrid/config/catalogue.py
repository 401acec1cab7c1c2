"""The list of all settings, made from their declarations.

Invariant: every setting that a file can hold appears once, with the path under which messages name it; `[]` stands
for any element of an array and `*` for any key of a table with free keys.
"""

import typing
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Literal

import attrs

from hedgegrid.config.fields import Section, is_rows, is_section, is_table, settings_of
from hedgegrid.config.render import inline
from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.secrets import SecretRef
from hedgegrid.config.values import nearest


@attrs.frozen(kw_only=True)
class FieldInfo:
    """One setting: path, type in words, default as TOML text (None: required; "" : absent), unit and meaning."""

    path: str
    type: str
    default: str | None
    unit: str
    doc: str


_ELSEWHERE_LIKENESS = 0.8
_TYPE_WORDS: Mapping[object, str] = {
    Decimal: "number",
    int: "whole number",
    bool: "true | false",
    str: "text",
    SecretRef: "secret reference",
}


def fields() -> tuple[FieldInfo, ...]:
    """Every setting in the order of the schema, sections themselves left out."""
    return tuple(_fields_of(AccountConfig, ""))


def nearest_setting(path: str, key: str, siblings: tuple[str, ...]) -> str:
    """Name the setting that an unknown `key` under `path` most likely meant.

    A like-named one of the same section comes first, then one that is called (nearly) so elsewhere, with its path.
    """
    sibling = nearest(key, siblings)
    if sibling is not None:
        return sibling
    homes: dict[str, str] = {}
    for info in fields():
        for place in (info.path, info.path.rpartition(".")[0]):
            homes.setdefault(place.rpartition(".")[2].removesuffix("[]"), place)
    elsewhere = nearest(key, homes, likeness=_ELSEWHERE_LIKENESS)
    if elsewhere is not None and homes[elsewhere] != path:
        return homes[elsewhere]
    return nearest(key, siblings, likeness=0.0) or siblings[0]


def _fields_of(cls: type[Section], path: str) -> Iterator[FieldInfo]:
    """Walk one section."""
    for setting in settings_of(cls):
        place = f"{path}.{setting.key}" if path else setting.key
        if is_section(setting.type):
            yield from _fields_of(setting.type, place)
            continue
        inner, suffix = _element(setting.type)
        if is_section(inner):
            yield from _fields_of(inner, place + suffix)
            continue
        yield FieldInfo(
            path=place,
            type=type_words(setting.type),
            default=_default_text(setting.default),
            unit=setting.unit,
            doc=setting.doc,
        )


def type_words(setting_type: object) -> str:
    """Say a setting's type in words."""
    if is_table(setting_type):
        return f"table of {type_words(typing.get_args(setting_type)[1])}"
    if typing.get_origin(setting_type) is Literal:
        return " | ".join(typing.get_args(setting_type))
    return _TYPE_WORDS[setting_type]


def _default_text(default: object) -> str | None:
    """Write a default: None where there is none, empty text where the setting is simply absent."""
    if default is attrs.NOTHING:
        return None
    return "" if default is None else inline(default)


def _element(setting_type: object) -> tuple[object, str]:
    """Return what an array or table holds, and how its place is written."""
    if is_rows(setting_type):
        return typing.get_args(setting_type)[0], "[]"
    if is_table(setting_type):
        return typing.get_args(setting_type)[1], ".*"
    return setting_type, ""
