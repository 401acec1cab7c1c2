"""How a setting is declared: type, default, unit, meaning and limits in one place.

Invariants: every attribute of a settings class is made by a function of this module and so carries metadata
`unit` and `doc`; an object of a settings class satisfies all checks of its fields and all rules between them,
however it was made; a rule reports every fault it sees, and a rule whose inputs are themselves faulty is left out
rather than guessed. A trailing underscore in a name (`lambda_`) only keeps it from being a Python keyword.
"""

import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, ClassVar, TypeGuard, TypeVar, cast

import attrs

from hedgegrid.config.secrets import SecretRef
from hedgegrid.config.values import Check, Range, type_fault

T = TypeVar("T")
Number = Decimal | int | str
"""How the declarations below write a number: `12` or `"0.95"`."""

_PLACES = {
    "bps": 2,
    "ratio": 6,
    "multiple": 6,
    "steps": 6,
    "quote": 8,
    "base": 12,
    "price": 12,
    "points": 6,
    "jumps": 6,
}
"""Decimals a unit may have: bps and ratios become ppm integers, quote amounts integers of 1e-8."""
_HIGH = {"bps": 10_000, "ratio": 1, "multiple": 1_000, "steps": 1_000, "points": 100, "jumps": 1_000}
_HIGH_AMOUNT = 10**10  # times 1e8 still fits 63 bits


@attrs.frozen(kw_only=True)
class Problem:
    """A fault of one setting: its path (relative to the section that reports it) and what is wrong."""

    path: str
    message: str


class RuleError(ValueError):
    """Settings of one section contradict each other; `problems` lists every contradiction."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Keep the problems; the text is one line for each."""
        super().__init__("\n".join(f"{problem.path}: {problem.message}" for problem in problems))
        self.problems = problems


class UnavailableError(Exception):
    """A rule asked for a setting that is itself faulty."""


Rule = Callable[[Any], Iterable[Problem]]
"""A rule between settings: takes the section (or what is valid of it), yields the contradictions."""


class Section:
    """Base of every settings class: `RULES` hold for each object of it."""

    __slots__ = ()
    RULES: ClassVar[tuple[Rule, ...]] = ()

    def __attrs_post_init__(self) -> None:
        """Check the rules between the fields.

        Raises:
            RuleError: with every rule that is broken.
        """
        problems = broken_rules(type(self), self)
        if problems:
            raise RuleError(problems)


@attrs.frozen(kw_only=True)
class Setting:
    """One declared setting: `key` as in TOML, `default` NOTHING where it must be given."""

    name: str
    key: str
    type: Any
    optional: bool
    default: object
    unit: str
    doc: str
    checks: tuple[Check, ...]
    inline: bool


def broken_rules(cls: type[Section], section: object) -> tuple[Problem, ...]:
    """Every contradiction in `section`, an object of `cls` or the valid part of one."""
    problems: list[Problem] = []
    for rule in cls.RULES:
        try:
            problems.extend(rule(section))
        except UnavailableError:
            continue  # what the rule needs is reported already
    return tuple(problems)


def settings_of(cls: type[Section]) -> tuple[Setting, ...]:
    """Return the settings of a section in the order of their declaration."""
    return tuple(_settings(cls))


def value_fault(setting_type: object, checks: Iterable[Check], value: object) -> str | None:
    """Everything that is wrong with a value of a setting, in one line, or None."""
    if is_leaf(setting_type):
        fault = type_fault(setting_type, value)
        if fault is not None:
            return fault
    faults = [fault for check in checks if (fault := check(value)) is not None]
    return "; ".join(faults) or None


def is_leaf(setting_type: object) -> bool:
    """Whether the type is a plain value: not a section, a secret, an array or a table."""
    return not (
        is_section(setting_type) or setting_type is SecretRef or is_rows(setting_type) or is_table(setting_type)
    )


def is_section(setting_type: object) -> TypeGuard[type[Section]]:
    """Whether the type is a settings class."""
    return isinstance(setting_type, type) and issubclass(setting_type, Section)


def is_rows(setting_type: object) -> bool:
    """Whether the type is an array: `tuple[X, ...]`."""
    return typing.get_origin(setting_type) is tuple


def is_table(setting_type: object) -> bool:
    """Whether the type is a table with free keys: `Mapping[str, X]`."""
    return typing.get_origin(setting_type) is Mapping


def number(
    doc: str,
    *,
    unit: str,
    default: Number | None = None,
    low: Number = 0,
    high: Number | None = None,
    open_low: bool = False,
    open_high: bool = False,
) -> Decimal:
    """Declare a decimal setting; without `default` it must be given. The unit bounds its fineness and size."""
    check = _range(unit, low, high, open_low=open_low, open_high=open_high)
    shown = attrs.NOTHING if default is None else Decimal(default)
    made: Decimal = _field(doc, unit, shown, (check,), converter=_decimal)
    return made


def optional_number(
    doc: str, *, unit: str, low: Number = 0, high: Number | None = None, open_low: bool = False
) -> Decimal | None:
    """Declare a decimal setting that may be absent (None)."""
    check = _range(unit, low, high, open_low=open_low, open_high=False)
    made: Decimal | None = _field(doc, unit, None, (check,), converter=_decimal)
    return made


def count(doc: str, *, unit: str, default: int, low: int = 0, high: int) -> int:
    """Declare a whole-number setting within inclusive bounds."""
    made: int = _field(doc, unit, default, (Range(low=Decimal(low), high=Decimal(high)),))
    return made


def optional_count(doc: str, *, unit: str, low: int, high: int) -> int | None:
    """Declare a whole-number setting that may be absent (None)."""
    made: int | None = _field(doc, unit, None, (Range(low=Decimal(low), high=Decimal(high)),))
    return made


def switch(doc: str, *, default: bool) -> bool:
    """Declare a setting that is true or false."""
    made: bool = _field(doc, "flag", default, ())
    return made


def choice(doc: str, *, default: T) -> T:
    """Declare a setting that is one of the options of its Literal type."""
    made: T = _field(doc, "name", default, ())
    return made


def text(doc: str, *, unit: str = "text", default: str | None = None, check: Check) -> str:
    """Declare a text setting; without `default` it must be given."""
    made: str = _field(doc, unit, attrs.NOTHING if default is None else default, (check,))
    return made


def optional_text(doc: str, *, unit: str = "text", check: Check) -> str | None:
    """Declare a text setting that may be absent (None)."""
    made: str | None = _field(doc, unit, None, (check,))
    return made


def secret(doc: str) -> SecretRef | None:
    """Declare a reference to a secret; absent means that there is none."""
    made: SecretRef | None = _field(doc, "secret", None, ())
    return made


def section(cls: Callable[[], T], doc: str) -> T:
    """Declare a table of settings; absent, it has its own defaults."""
    made: T = _field(doc, "section", attrs.Factory(cls), ())
    return made


def required(doc: str, *, unit: str = "section", check: Check | None = None, inline: bool = False) -> Any:  # noqa: ANN401  # the annotation beside the declaration types it
    """Declare a section, or an array of them, that must be given."""
    return _field(doc, unit, attrs.NOTHING, () if check is None else (check,), inline=inline)


def rows(doc: str, *, check: Check) -> tuple[Any, ...]:
    """Declare an array of small tables, written inline; absent means none."""
    made: tuple[Any, ...] = _field(doc, "rows", (), (check,), inline=True)
    return made


def table(doc: str, *, unit: str = "section", default: Mapping[str, T], check: Check) -> Mapping[str, T]:
    """Declare a table with free keys; `check` sees the whole of it."""
    made: Mapping[str, T] = _field(doc, unit, attrs.Factory(lambda: dict(default)), (check,))
    return made


def _field(
    doc: str,
    unit: str,
    default: object,
    checks: tuple[Check, ...],
    *,
    converter: Callable[[Any], Any] | None = None,
    inline: bool = False,
) -> Any:  # noqa: ANN401  # attrs itself calls it Any
    """Make the attrs field with the metadata that `settings_of` reads."""
    metadata = {"unit": unit, "doc": doc, "checks": checks, "inline": inline}
    return attrs.field(default=default, converter=converter, validator=_validate, metadata=metadata)


def _validate(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse a value at construction as the loader would.

    Raises:
        ValueError: naming the setting and what is wrong with it.
    """
    plain_type, optional = _without_none(attribute.type)
    if value is None and optional:
        return
    fault = value_fault(plain_type, attribute.metadata["checks"], value)
    if fault is not None:
        raise ValueError(f"{attribute.name}: {fault}")


def _decimal(value: object) -> object:
    """Take a whole number where a decimal is meant; leave the rest to the validator."""
    return Decimal(value) if type(value) is int else value


def _range(unit: str, low: Number, high: Number | None, *, open_low: bool, open_high: bool) -> Range:
    """Bound a number by what is given or else by what its unit allows."""
    top = _HIGH.get(unit, _HIGH_AMOUNT) if high is None else high
    return Range(
        low=Decimal(low), high=Decimal(top), open_low=open_low, open_high=open_high, places=_PLACES[unit], unit=unit
    )


def _settings(cls: type[Section]) -> Iterator[Setting]:
    """Read the declarations of a settings class back from attrs."""
    for attribute in attrs.fields(cast("type[attrs.AttrsInstance]", cls)):
        plain_type, optional = _without_none(attribute.type)
        default = attribute.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class at run time, a function to mypy
            default = default.factory()
        yield Setting(
            name=attribute.name,
            key=attribute.name.rstrip("_"),
            type=plain_type,
            optional=optional,
            default=default,
            unit=attribute.metadata["unit"],
            doc=attribute.metadata["doc"],
            checks=attribute.metadata["checks"],
            inline=attribute.metadata["inline"],
        )


def _without_none(annotation: Any) -> tuple[Any, bool]:  # noqa: ANN401  # a type as written in an annotation
    """Split `X | None` into X and whether None was there."""
    if not isinstance(annotation, types.UnionType):
        return annotation, False
    kept = [member for member in typing.get_args(annotation) if member is not types.NoneType]
    return kept[0], True
