"""The catalogue of settings: whole, documented, and telling defaults that are true."""

from pathlib import Path
from typing import Any

import tomli

from hedgegrid.config.catalogue import fields, nearest_setting


def test_every_setting_is_documented() -> None:
    """Rendering, `init` and the documentation share these texts: none is missing, none breaks a line."""
    listed = fields()
    assert len({info.path for info in listed}) == len(listed)
    for info in listed:
        assert info.doc, info.path
        assert info.unit, info.path
        assert info.type, info.path
        assert info.doc.isprintable(), info.path


def test_units_agree_with_names() -> None:
    """A setting whose name ends in a unit has that unit."""
    for info in fields():
        key = info.path.rpartition(".")[2].removesuffix("_8h")
        for suffix, unit in {"_bps": "bps", "_ms": "ms", "_s": "s", "_quote": "quote", "_minutes": "minutes"}.items():
            if key.endswith(suffix):
                assert info.unit == unit, info.path


def test_the_example_is_covered(shared_dir: Path) -> None:
    """Every name of the example file is a setting here, with the example's value as default where it has one."""
    example = tomli.loads((shared_dir / "account.example.toml").read_text(encoding="utf-8"))
    listed = {info.path: info for info in fields()}
    checked = 0
    for path, value in flat(example, ""):
        info = listed[path]
        checked += 1
        if info.unit != "secret" and info.default and path != "alerts.events":
            assert tomli.loads(f"x = {info.default}")["x"] == value, path
    assert checked > 120


def flat(table: dict[str, Any], path: str) -> list[tuple[str, Any]]:
    """Settings of parsed tables by catalogue path."""
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        place = f"{path}.{key}" if path else key
        if key == "grid":
            found += flat(value[0], f"{place}[]")
        elif isinstance(value, dict) and key != "events" and "env" not in value:
            found += flat(value, place)
        else:
            found.append((place, value))
    return found


def test_nearest_names() -> None:
    """A slip of the finger leads to the sibling, a misplaced name to its home, nonsense to something valid."""
    siblings = ("step_bps", "base_qty")
    assert nearest_setting("grid[0].ladder", "step_bp", siblings) == "step_bps"
    assert nearest_setting("grid[0].ladder", "ema_slow", siblings) == "grid[].regime.ema_slow"
    assert nearest_setting("grid[0].ladder", "qqqq", siblings) in siblings
