"""Turns the tables of a parsed TOML file into settings objects, or into every fault they have.

cattrs does the walking; this module says what each value may be and keeps what is valid of a faulty section, so
that the rules between settings are judged in the same pass. Invariants: `structure` returns a whole object or at
least one problem, each with the full dotted path of the file; no problem repeats a value that could be a secret.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, override

from hedgegrid.config.catalogue import nearest_setting
from hedgegrid.config.fields import (
    Problem,
    RuleError,
    Section,
    Setting,
    UnavailableError,
    broken_rules,
    is_rows,
    is_section,
    is_table,
    settings_of,
    value_fault,
)
from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.secrets import SecretRef, parse_reference
from hedgegrid.config.values import key_text, kind_of, type_fault

Hook = Callable[[Any, Any], Any]


class SectionFaultError(ClassValidationError):
    """A section has faults; `valid` is what of it has none, for the rules that need no more."""

    valid: "ValidPart"


class ValidPart:
    """Stands for a faulty section in rules: has the settings that are valid, refuses the others."""

    def __init__(self, settings: Mapping[str, object]) -> None:
        """Keep the valid settings by name."""
        self._settings = settings

    def __getattr__(self, name: str) -> object:
        """Give a valid setting.

        Raises:
            UnavailableError: it is faulty.
        """
        try:
            return self._settings[name]
        except KeyError:
            raise UnavailableError(name) from None


def structure(document: Mapping[str, object]) -> tuple[AccountConfig | None, tuple[Problem, ...]]:
    """Make the settings of a parsed document: the object and no problem, or None and all problems."""
    try:
        return _CONVERTER.structure(document, AccountConfig), ()
    except ClassValidationError as fault:
        return None, tuple(_problems(fault, ""))


def _converter() -> cattrs.Converter:
    """Build the converter: strict about kinds, with the declared checks on every setting."""
    converter = cattrs.Converter(detailed_validation=True, forbid_extra_keys=True)
    for plain_type in (Decimal, int, bool, str):
        converter.register_structure_hook(plain_type, _structure_leaf)
    converter.register_structure_hook_func(_is_options, _structure_leaf)
    converter.register_structure_hook(SecretRef, lambda raw, _: parse_reference(raw))
    converter.register_structure_hook_factory(is_section, lambda cls: _section_hook(cls, converter))
    return converter


def _is_options(target: Any) -> bool:  # noqa: ANN401  # a type
    """Whether a type is a Literal of options."""
    return get_origin(target) is Literal


def _structure_leaf(raw: object, target: Any) -> object:  # noqa: ANN401  # a type
    """Take a plain value as it is, a whole number also where a decimal is meant.

    Raises:
        ValueError: it is of another kind.
    """
    value = Decimal(raw) if target is Decimal and type(raw) is int else raw
    fault = type_fault(target, value)
    if fault is not None:
        raise ValueError(fault)
    return value


def _setting_hook(setting: Setting, converter: cattrs.Converter) -> Hook:
    """Return the function that structures and checks the value of one setting."""

    def hook(raw: object, _: object) -> object:
        fault = _kind_fault(setting, raw)
        if fault is not None:
            raise ValueError(fault)
        value = converter.structure(raw, setting.type)
        fault = value_fault(setting.type, setting.checks, value)
        if fault is not None:
            raise ValueError(fault)
        return value

    return hook


def _kind_fault(setting: Setting, raw: object) -> str | None:
    """Why a value is not even the array or table its setting is."""
    if is_rows(setting.type) and not isinstance(raw, list):
        return f"expected an array of tables ([[{setting.key}]]), got {kind_of(raw)}"
    if (is_table(setting.type) or is_section(setting.type)) and not isinstance(raw, dict):
        return f"expected a table, got {kind_of(raw)}"
    return None


def _section_hook(cls: type[Section], converter: cattrs.Converter) -> Hook:
    """Return the function that structures a section and keeps the valid part of a faulty one."""
    hooks = {setting.name: _setting_hook(setting, converter) for setting in settings_of(cls)}
    overrides: dict[str, Any] = {
        setting.name: override(rename=setting.key, struct_hook=hooks[setting.name]) for setting in settings_of(cls)
    }
    whole = make_dict_structure_fn(
        cls, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True, **overrides
    )

    def hook(raw: Any, _: object) -> object:  # noqa: ANN401  # whatever the file holds
        if not isinstance(raw, dict):
            raise ValueError(f"expected a table, got {kind_of(raw)}")  # noqa: TRY004  # a fault of the file, not of a caller
        try:
            return whole(raw, cls)
        except ClassValidationError as fault:
            raise _with_valid_part(cls, raw, hooks, fault) from None

    return hook


def _with_valid_part(
    cls: type[Section], raw: Mapping[str, object], hooks: Mapping[str, Hook], fault: ClassValidationError
) -> SectionFaultError:
    """Add what the rules find in the valid part of a faulty section."""
    valid = ValidPart(dict(_valid_settings(cls, raw, hooks)))
    faults: list[Exception] = list(fault.exceptions)
    if not any(isinstance(each, RuleError) for each in faults):
        problems = broken_rules(cls, valid)
        faults += [RuleError(problems)] if problems else []
    complete = SectionFaultError("faulty section", faults, cls)
    complete.valid = valid
    return complete


def _valid_settings(
    cls: type[Section], raw: Mapping[str, object], hooks: Mapping[str, Hook]
) -> Iterator[tuple[str, object]]:
    """Every setting of a section that is valid, or a section whose valid part is known."""
    for setting in settings_of(cls):
        if setting.key not in raw:
            if setting.default is not attrs.NOTHING:
                yield setting.name, setting.default
            continue
        try:
            yield setting.name, hooks[setting.name](raw[setting.key], None)
        except SectionFaultError as fault:
            yield setting.name, fault.valid
        except IterableValidationError:
            if is_rows(setting.type):
                yield setting.name, tuple(_valid_rows(setting, raw[setting.key]))
        except ValueError:
            continue  # reported by the caller's first pass


def _valid_rows(setting: Setting, rows: Any) -> Iterator[object]:  # noqa: ANN401  # an array of the file
    """Give every element of an array of sections, or its valid part."""
    for raw in rows:
        try:
            yield _CONVERTER.structure(raw, get_args(setting.type)[0])
        except SectionFaultError as fault:
            yield fault.valid
        except ValueError:
            yield ValidPart({})


def _problems(fault: ClassValidationError, path: str) -> Iterator[Problem]:
    """Flatten the faults of a section at `path`, each with its full path."""
    cls: type[Section] = fault.cl
    keys = {setting.name: setting for setting in settings_of(cls)}
    noted, others = fault.group_exceptions()
    for each, note in noted:
        yield from _setting_problems(each, _join(path, keys[note.name].key), keys[note.name])
    for other in others:
        if isinstance(other, ForbiddenExtraKeysError):
            yield from (_unknown(cls, path, key) for key in sorted(other.extra_fields))
        elif isinstance(other, RuleError):
            yield from (attrs.evolve(problem, path=_join(path, problem.path)) for problem in other.problems)
        else:
            raise other


def _setting_problems(fault: Exception, path: str, setting: Setting | None) -> Iterator[Problem]:
    """Flatten the faults of one setting or element."""
    if isinstance(fault, ClassValidationError):
        yield from _problems(fault, path)
    elif isinstance(fault, IterableValidationError):
        for each, note in fault.group_exceptions()[0]:
            place = f"{path}[{note.index}]" if isinstance(note.index, int) else _join(path, key_text(note.index))
            yield from _setting_problems(each, place, None)
    elif isinstance(fault, KeyError) and setting is not None:
        yield Problem(path=path, message=f"is required: {setting.doc}")
    elif isinstance(fault, ValueError):
        yield Problem(path=path, message=str(fault))
    else:
        raise fault


def _unknown(cls: type[Section], path: str, key: str) -> Problem:
    """Word the refusal of an unknown key with the nearest valid name."""
    near = nearest_setting(path, key, tuple(setting.key for setting in settings_of(cls)))
    return Problem(path=_join(path, key_text(key)), message=f"unknown setting; the nearest valid name is {near}")


def _join(path: str, name: str) -> str:
    """Put a name under a path."""
    return f"{path}.{name}" if path else name


_CONVERTER = _converter()
