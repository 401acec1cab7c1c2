"""Rendering: TOML that loads again into the same settings, and a hash that tells configs apart."""

import copy
import pickle
import typing
from decimal import Decimal
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.config.catalogue import fields
from hedgegrid.config.fields import Section, Setting, settings_of
from hedgegrid.config.grid import GridConfig
from hedgegrid.config.load import loads
from hedgegrid.config.render import config_hash, render_effective
from hedgegrid.config.risk import RiskConfig
from hedgegrid.config.schema import (
    AccountSection,
    JournalConfig,
    SupervisorConfig,
    VenueConfig,
    WatchdogConfig,
)
from hedgegrid.config.sim import SimConfig
from hedgegrid.config.structure import structure
from hedgegrid.config.values import Range

PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
SPECIAL: dict[str, st.SearchStrategy[object]] = {
    "SupervisorConfig.backoff_min_ms": st.integers(1, 200),
    "SupervisorConfig.backoff_max_ms": st.integers(200, 86_400_000),
    "AccountSection.name": st.from_regex(r"[a-z0-9-]{1,16}", fullmatch=True),
    "AccountSection.mode": st.sampled_from(["sim", "paper"]),
    "JournalConfig.path": PRINTABLE,
    "GridConfig.instrument": st.just("BTC/USDT:USDT"),
    "LadderConfig.step_bps": st.integers(1, 40_000).map(lambda n: Decimal(n) / 100),
    "LadderConfig.levels_long": st.integers(1, 20),
    "LadderConfig.levels_short": st.integers(1, 20),
    "LadderConfig.qty_scale": st.integers(500_000, 1_500_000).map(lambda n: Decimal(n) / 1_000_000),
    "RegimeConfig.ema_fast": st.integers(2, 50),
    "RegimeConfig.ema_slow": st.integers(51, 5_000),
    "VenueConfig.rest_url": st.just("https://example.com"),
    "VenueConfig.ws_url": st.just("wss://example.com"),
    "VenueConfig.ws_api_url": st.just("ws://[::1]"),
    "VenueConfig.api_key": st.one_of(st.just({"env": "A_1"}), PRINTABLE.map(lambda name: {"file": name})),
    "VenueConfig.api_secret": st.just({"env": "B"}),
}
LEFT_OUT = {"base_quote", "synthetic"}


def values_of(cls: type[Section], setting: Setting) -> st.SearchStrategy[object]:
    """Valid values of one setting, as a parsed file has them."""
    special = SPECIAL.get(f"{cls.__name__}.{setting.name}")
    if special is not None:
        return special
    if typing.get_origin(setting.type) is typing.Literal:
        return st.sampled_from(typing.get_args(setting.type))
    if setting.type is bool:
        return st.booleans()
    bounds = next(check for check in setting.checks if isinstance(check, Range))
    unit = 10**bounds.places
    low, high = int(bounds.low * unit) + bounds.open_low, int(bounds.high * unit) - bounds.open_high
    numbers = st.integers(low, high)
    return numbers if setting.type is int else numbers.map(lambda n: Decimal(n).scaleb(-bounds.places))


def tables_of(cls: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    """Tables of a section with any of its optional settings left out."""
    must: dict[str, st.SearchStrategy[Any]] = {}
    may: dict[str, st.SearchStrategy[Any]] = {}
    for setting in settings_of(cls):
        if setting.name in LEFT_OUT or (setting.unit == "section" and not isinstance(setting.type, type)):
            continue
        inner = isinstance(setting.type, type) and issubclass(setting.type, Section)
        values = tables_of(setting.type) if inner else values_of(cls, setting)
        needed = setting.name in {"instrument", "max_position_qty", "ladder", "base_qty", "ema_fast", "ema_slow"}
        paired = setting.name in {"backoff_min_ms", "backoff_max_ms", "levels_long", "levels_short"}
        (must if needed or paired else may)[setting.key] = values
    return st.fixed_dictionaries(must, optional=may)


DOCUMENTS = st.fixed_dictionaries(
    {"grid": tables_of(GridConfig).map(lambda grid: [grid])},
    optional={
        "account": tables_of(AccountSection),
        "venue": tables_of(VenueConfig),
        "sim": tables_of(SimConfig),
        "risk": tables_of(RiskConfig),
        "watchdog": tables_of(WatchdogConfig),
        "supervisor": tables_of(SupervisorConfig),
        "journal": tables_of(JournalConfig).map(lambda table: {**table, "synchronous": "full"}),
        "alerts": st.fixed_dictionaries(
            {"events": st.dictionaries(st.sampled_from(["fill", "unknown_order"]), st.just("on"))}
        ),
    },
)


@given(document=DOCUMENTS)
def test_round_trip(document: dict[str, Any]) -> None:
    """Whatever loads is written as TOML that loads into equal settings, with the same hash, through pickling too."""
    config, problems = structure(document)
    assert problems == ()
    assert config is not None
    for comments in (True, False):
        text = render_effective(config, comments=comments)
        again = loads(text, "f.toml")
        assert again == config
        assert config_hash(again) == config_hash(config)
        assert render_effective(again, comments=comments) == text
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301  # our own pickle


def test_full_file_round_trips(full: str) -> None:
    """The settings that the property leaves out (tiers, prices, tokens, several grids) round-trip too."""
    config = loads(full, "f.toml")
    assert loads(render_effective(config), "f.toml") == config
    assert loads(render_effective(config, comments=False), "f.toml") == config


def test_every_setting_is_written_and_explained(full: str) -> None:
    """The rendering names each setting of the catalogue with its meaning, absent ones commented out."""
    text = render_effective(loads(full, "f.toml"))
    for info in fields():
        key = info.path.rpartition(".")[2]
        assert f"{key} = " in text
    bare = render_effective(
        loads('[[grid]]\ninstrument="BTC/USDT:USDT"\nmax_position_qty=1\n[grid.ladder]\nbase_qty=1', "f")
    )
    lines = [line for line in bare.splitlines() if line and not line.startswith("[")]
    assert all("  # " in line for line in lines)
    assert [line for line in lines if line.startswith("# vol_target =")]
    assert "step_bps = 12" in bare
    assert "# bps: distance" in bare


def test_equal_settings_have_one_text(smallest: str) -> None:
    """How a number or table was written does not change the hash; what it says does."""
    first = loads(f"[account]\nwallet_quote = 500\n[risk]\nmax_leverage = 2.50\n{smallest}", "f")
    second = loads(f"[risk]\nmax_leverage = 2.5\n[account]\nwallet_quote = 5e2\n{smallest}", "f")
    third = loads(f"[risk]\nmax_leverage = 2.51\n[account]\nwallet_quote = 500\n{smallest}", "f")
    assert first == second
    assert config_hash(first) == config_hash(second)
    assert config_hash(first) != config_hash(third)
    assert len(config_hash(first)) == 64


def test_the_order_of_tables_does_not_matter(smallest: str) -> None:
    """Two files that differ in the order of free keys alone are one config with one hash and one text."""
    events, rules = (
        ['fill = "on"', 'flat = "off"'],
        ['"BTC/USDT:USDT" = { tick = 0.1 }', '"ETH/USDT:USDT" = { lot = 1 }'],
    )
    there, back = (
        loads(f"[alerts]\nevents = {{ {', '.join(e)} }}\n[sim.instrument]\n{chr(10).join(r)}\n{smallest}", "f")
        for e, r in ((events, rules), (events[::-1], rules[::-1]))
    )
    assert render_effective(there) == render_effective(back)
    assert config_hash(there) == config_hash(back)


def leaves(tables: dict[str, Any], path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all single settings of parsed tables."""
    found: list[tuple[Any, ...]] = []
    for key, value in tables.items():
        if isinstance(value, dict) and not {"env", "file"} & value.keys():
            found += leaves(value, (*path, key))
        elif key == "grid":
            for index, each in enumerate(value):
                found += leaves(each, (*path, key, index))
        else:
            found.append((*path, key))
    return found


def test_every_setting_enters_the_hash(full: str, full_tables: dict[str, Any]) -> None:
    """No change of a setting, but of where a secret lies, keeps the hash."""
    whole = config_hash(loads(full, "f.toml"))
    compared = 0
    for *sections, key in leaves(full_tables):
        tables = copy.deepcopy(full_tables)
        table: Any = tables
        for name in sections:
            table = table[name]
        removed = table.pop(key)
        config, problems = structure(tables)
        if config is None:
            assert problems
            continue
        default = next((each.default for each in DEFAULTS if each.key == key and each.default == removed), None)
        if default is None and not isinstance(removed, dict):
            compared += 1
            assert config_hash(config) != whole, (*sections, key)
    assert compared > 100


DEFAULTS = [setting for cls in (VenueConfig, JournalConfig, SimConfig, GridConfig) for setting in settings_of(cls)]


def test_texts_are_escaped(smallest: str) -> None:
    """Quotes, backslashes and letters of any alphabet in a path come back as they were."""
    path = 'ü"\\日本/\U0001f600.db'
    config = loads(f"[journal]\npath = '{path}'\n{smallest}", "f")
    assert loads(render_effective(config), "f").journal.path == path


@pytest.mark.parametrize("comments", [True, False])
def test_rendering_is_plain_toml(full: str, *, comments: bool) -> None:
    """Any TOML reader reads the rendering."""
    assert tomli.loads(render_effective(loads(full, "f"), comments=comments))["risk"]["var"]["lambda"] == 0.95
