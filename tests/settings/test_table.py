"""The table is whole: a row for every setting, none for anything else, and every row tells its values apart."""

from typing import Any

import pytest

from hedgegrid.config.catalogue import fields
from hedgegrid.config.coverage import NOT_ENFORCED
from tests.settings.every_row import ROWS
from tests.settings.pending import PENDING, is_pending
from tests.settings.table import Row, options, settings


def test_every_setting_has_a_row() -> None:
    """A setting that nobody proves is a setting that may do nothing."""
    proven = {each.field for each in ROWS}
    missing = [path for path in settings() if path not in proven and not is_pending(path)]
    assert not missing, f"settings without a row in tests/settings: {', '.join(missing)}"


def test_every_row_is_of_a_setting() -> None:
    """A row whose setting is gone proves nothing."""
    unknown = sorted({each.field for each in ROWS} - set(settings()))
    assert not unknown, f"rows in tests/settings of settings that do not exist: {', '.join(unknown)}"


def test_what_waits_for_its_row_exists_and_has_none() -> None:
    """The list of what is not proven is no longer than it must be."""
    known, proven = settings(), {each.field for each in ROWS}
    idle = [each for each in PENDING if not any(is_pending(path) and path.startswith(each) for path in known)]
    done = [path for path in proven if is_pending(path)]
    assert (idle, done) == ([], [])


def test_only_what_is_not_enforced_waits() -> None:
    """A setting is proven by a row, or `check` says that it does nothing: there is no third way."""
    assert set(PENDING) == set(NOT_ENFORCED)


def test_the_catalogue_lists_the_same_settings() -> None:
    """What users are shown is what there is."""
    assert {info.path for info in fields()} == set(settings())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.field)
def test_every_row_tells_its_values_apart(row: Row[Any]) -> None:
    """At least two values, and a different outcome for each that is not defined to mean the same as another."""
    outcomes = [case.sees for case in row.cases if repr(case.value) not in map(repr, row.alike)]
    assert len(outcomes) > 1, f"{row.field}: one value proves nothing"
    alike = [case.value for case in row.cases if outcomes.count(case.sees) > 1]
    assert not alike, f"{row.field}: {alike} bring about the same: the setting changes nothing there"


@pytest.mark.parametrize("field", [path for path, kind in settings().items() if options(kind) and not is_pending(path)])
def test_every_option_is_tried(field: str) -> None:
    """A setting that has few values is proven for each of them."""
    tried = {case.value for each in ROWS if each.field == field for case in each.cases}
    untried = [option for option in options(settings()[field]) if option not in tried]
    assert not untried, f"{field}: no case for {untried}"
