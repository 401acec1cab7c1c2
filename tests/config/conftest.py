"""Texts and tables the config tests start from: a full file, and the smallest one that loads."""

import copy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import tomli

from hedgegrid.config.load import loads
from hedgegrid.config.schema import AccountConfig

FULL = Path(__file__).with_name("full.toml")
SMALLEST = """\
[[grid]]
instrument = "BTC/USDT:USDT"
max_position_qty = 1
[grid.ladder]
base_qty = 0.01
"""


@pytest.fixture
def smallest() -> str:
    """The smallest file that loads."""
    return SMALLEST


@pytest.fixture
def full() -> str:
    """A file that gives every setting there is, fit for live trading."""
    return FULL.read_text(encoding="utf-8")


@pytest.fixture
def full_tables(full: str) -> dict[str, Any]:
    """The full file, parsed; each test has its own copy."""
    return copy.deepcopy(tomli.loads(full, parse_float=Decimal))


@pytest.fixture
def config(smallest: str) -> AccountConfig:
    """The settings of the smallest file."""
    return loads(smallest, "smallest.toml")
