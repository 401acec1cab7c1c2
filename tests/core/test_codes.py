"""The whole numbers of the hot path are the model's own, and the hot path reaches nothing but itself."""

import ast
from enum import IntEnum
from pathlib import Path
from types import ModuleType

import attrs
import numpy as np
import pytest

from hedgegrid.backtest.twins import HOT_MODULES
from hedgegrid.core import codes, diff, exits, gate_records, records, stop_laying, venue_tables
from hedgegrid.model.order import Kind, Leg, Purpose, Side

ALLOWED = ("hedgegrid.core", "hedgegrid.units", "math", "typing")
ALSO = {"risk": ("hedgegrid.messages.events", "hedgegrid.model.order")}
"""What `risk.approve`, which stays plain Python, makes its message of."""


@pytest.mark.parametrize("enumeration", [Leg, Side, Purpose, Kind])
def test_codes_agree_with_the_model(enumeration: type[IntEnum]) -> None:
    """A leg, a side, a purpose and a kind cross between the two without translation."""
    for member in enumeration:
        assert getattr(codes, member.name) == member.value


def test_every_code_of_a_family_is_in_the_model() -> None:
    """No code of the hot path is unknown to the model."""
    families = {"LIQUIDATION": Purpose, "BACKSTOP": Purpose, "FLATTEN": Purpose, "STOP_MARKET": Kind, "MARKET": Kind}
    for name, enumeration in families.items():
        assert enumeration(getattr(codes, name)).name == name


def test_codes_of_one_family_differ() -> None:
    """Two names of a family never share a number, and no used state is FREE."""
    families = [
        (codes.SIDEWAYS, codes.UP, codes.DOWN),
        (codes.POLICY_BOTH, codes.POLICY_THROTTLED, codes.POLICY_CORE),
        (codes.FUNDING_SCALE, codes.FUNDING_HALT, codes.FUNDING_WARN),
        (codes.FILL_THROUGH, codes.FILL_TOUCH, codes.FILL_QUEUE),
        (codes.FREE, diff.WORKING, diff.CANCELLING, diff.RETRYING),
        (codes.FREE, venue_tables.PENDING, venue_tables.LIVE),
        (codes.FREE, exits.OPEN),
        (codes.FREE, stop_laying.STANDING),
    ]
    for family in families:
        assert len(set(family)) == len(family)
    assert codes.NEVER_NS == codes.NO_PRICE == 2**63 - 1


def imported(module: ModuleType) -> set[str]:
    """The full names of what a module imports."""
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("module", [*HOT_MODULES, codes], ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_hot_path_imports_nothing_but_itself(module: ModuleType) -> None:
    """What compiles reaches core, units and math alone: no object of the house, no library, no clock."""
    name = module.__name__.rpartition(".")[2]
    for reached in imported(module):
        inside = any(reached == root or reached.startswith(f"{root}.") for root in ALLOWED)
        assert inside or reached in ALSO.get(name, ()), f"{name} imports {reached}"


@pytest.mark.parametrize("module", HOT_MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_hot_path_is_written_in_its_subset(module: ModuleType) -> None:
    """No class, try, comprehension or text is in what compiles, so that a third execution stays open."""
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    banned = (ast.ClassDef, ast.AsyncFunctionDef, ast.Try, ast.Raise, ast.Lambda, ast.ListComp, ast.Dict, ast.JoinedStr)
    more = (ast.GeneratorExp, ast.SetComp, ast.DictComp, ast.Yield, ast.With, ast.Starred, ast.Pow, ast.Global)
    plain = {"explain", "approve"} if module.__name__.endswith(".risk") else set()
    for function in [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name not in plain]:
        kinds = {type(node) for node in ast.walk(function)} & {*banned, *more}
        assert not kinds, f"{module.__name__}.{function.name}"


def test_no_record_field_bears_a_name_of_numpys() -> None:
    """Interpreted on arrays, `record.base` would be NumPy's attribute instead of the field."""
    taken = {*dir(np.recarray), *dir(np.record)} - {"__slots__"}
    for name, value in [*vars(records).items(), *vars(gate_records).items()]:
        if isinstance(value, type) and attrs.has(value) and value.__module__.startswith("hedgegrid.core."):
            assert sorted(taken & set(attrs.fields_dict(value))) == [], name
