"""The report as a file: what it says, what it cannot do, and how large it may be."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest

from hedgegrid.backtest.measure import measure
from hedgegrid.backtest.report import palette
from hedgegrid.errors import Fatal
from tests.backtest.made_result import TAKERS_PPM, made_liquidation, made_result
from tests.backtest.report.report_cases import HOSTILE, hostile_result, repeated, written

SIZE_MOST = 8_000_000
SECTIONS = (
    "figures",
    "price",
    "equity",
    "inventory",
    "costs",
    "months",
    "trips",
    "excursions",
    "distance",
    "pauses",
    "ambiguity",
    "quality",
    "settings",
    "glossary",
)


class Reader(HTMLParser):
    """Takes a page apart: elements with their attributes, texts of scripts and styles, and what a person reads."""

    def __init__(self, text: str) -> None:
        """Read a whole page."""
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.inner: list[tuple[str, str]] = []
        self.read: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in {"script", "style"}:
            self.inner.append((tag, ""))

    def handle_data(self, text: str) -> None:
        """Note a text."""
        if self.cdata_elem:
            self.inner[-1] = (self.inner[-1][0], self.inner[-1][1] + text)
        else:
            self.read.append(text)

    @property
    def text(self) -> str:
        """What a person reads."""
        return " ".join(" ".join(self.read).split())


def test_sections_stand_in_their_order(tmp_path: Path) -> None:
    """Every section is there once, with a heading and a link to it."""
    reader = Reader(written(tmp_path / "report.html", made_result(bars=400)))
    found = [values["id"] for tag, values in reader.elements if tag == "section"]
    links = [values["href"] for tag, values in reader.elements if tag == "a" and values["href"] != "#figures"]
    assert tuple(found) == SECTIONS
    assert links == [f"#{name}" for name in SECTIONS[1:]]
    labels = {values.get("aria-labelledby") for tag, values in reader.elements if tag == "section"}
    assert labels == {values["id"] for tag, values in reader.elements if tag == "h2"}


def test_solvent_and_liquidated_are_said_in_words(tmp_path: Path) -> None:
    """A reader cannot miss that the account died, with what it held against what was needed."""
    solvent = Reader(written(tmp_path / "a.html", made_result(bars=400))).text
    dead = Reader(written(tmp_path / "b.html", made_liquidation())).text
    assert "Solvent to the end" in solvent
    assert "LIQUIDATED" not in solvent
    assert "LIQUIDATED" in dead
    assert "Solvent" not in dead
    assert "the exchange closed the account" in dead


def test_figures_are_those_that_were_measured(tmp_path: Path) -> None:
    """Cards, glossary and comparison show the figures' own values and definitions."""
    result = made_result(bars=400)
    figures = measure(result, takers_ppm=TAKERS_PPM).figures
    worse = attrs.evolve(figures, final_e8=figures.final_e8 - 123 * 10**8)
    text = Reader(written(tmp_path / "report.html", result, pessimistic=worse)).text
    assert f"{figures.final_e8 / 1e8:,.2f}" in text
    assert f"{worse.final_e8 / 1e8:,.2f}" in text
    assert f"Round trips {figures.round_trips:,}" in text
    assert "mean(r) / std(r, n - 1) x sqrt(365)".capitalize()[1:] in text
    assert f"In {result.ambiguous_bars} of 800 bars" in text


def test_parts_that_are_absent_are_said(tmp_path: Path) -> None:
    """Without a pessimistic run, notes or pauses the page says so instead of staying silent."""
    result = attrs.evolve(made_result(bars=400), notes=(), pauses=made_result(bars=400).pauses[:0])
    text = Reader(written(tmp_path / "report.html", result, pessimistic=None, quality=[])).text
    assert "run with --pessimistic" in text
    assert "Nothing was found wanting" in text
    assert "Trading was never paused." in text


def test_run_without_fills_is_a_report(tmp_path: Path) -> None:
    """A market that ended before anything happened can be looked at too."""
    full = made_result(bars=400)
    names = ("fills", "cuts", "orders", "equity", "holdings", "funding", "grids", "pauses")
    empty = attrs.evolve(full, **{name: getattr(full, name)[:0] for name in names})
    assert "No lot was opened" in Reader(written(tmp_path / "report.html", empty)).text


def test_texts_from_outside_stay_texts(tmp_path: Path) -> None:
    """Names, settings, titles and notes that are HTML or end a script change nothing in the page's structure."""
    plain = Reader(written(tmp_path / "a.html", made_result(bars=400)))
    words = {"settings": HOSTILE, "quality": [HOSTILE], "title": HOSTILE, "code_version": HOSTILE}
    hostile = Reader(written(tmp_path / "b.html", hostile_result(), **words))
    tags = [tag for tag, _ in plain.elements]
    # Both notes of the made run are listed beside what is passed; the hostile run has one more.
    assert [tag for tag, _ in hostile.elements if tag != "li"] == [tag for tag in tags if tag != "li"]
    assert hostile.text.count(HOSTILE) > 5
    rows = next(text for tag, text in hostile.inner if tag == "script")
    assert not set("<>&") & set(rows)
    assert json.loads(rows)["instruments"][0].startswith("&lt;/script&gt;")


def test_page_runs_nothing_but_its_own(tmp_path: Path) -> None:
    """The policy names the hash of every script and style, nothing else runs, and no address is asked for anything."""
    reader = Reader(written(tmp_path / "report.html", hostile_result()))
    policy = next(one["content"] for _, one in reader.elements if one.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "unsafe" not in policy
    assert "http" not in policy
    scripts = [text for tag, text in reader.inner if tag == "script"][1:]
    assert rules["script-src"].split() == [_hash(text) for text in scripts]
    (style,) = [text for tag, text in reader.inner if tag == "style"]
    assert rules["style-src"].split() == [_hash(style), _hash("")]
    assert "url(" not in style
    assert "@import" not in style
    for tag, values in reader.elements:
        assert not [name for name in values if name.startswith("on") or name in {"src", "style", "srcset"}], tag
        assert values.get("href", "#").startswith("#"), tag
        assert tag not in {"link", "iframe", "object", "img", "form", "base"}


def _hash(text: str) -> str:
    """The hash as a policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_years_of_minutes_stay_small_and_honest(tmp_path: Path) -> None:
    """Half a million decisions and a hundred thousand fills fit in the bound, and the page tells what it left out."""
    result = repeated(made_result(), 270)
    assert len(result.equity) > 500_000
    assert len(result.fills) > 100_000
    text = written(tmp_path / "report.html", result)
    assert len(text.encode()) < SIZE_MOST
    rows = json.loads(next(text for tag, text in Reader(text).inner if tag == "script"))
    fills = [one["fills"] for one in rows["plots"]["price"]]
    assert sum(len(one["t"]["d"]) for one in fills) <= 36_000
    assert sum(one["total"] for one in fills) == len(result.fills)
    assert re.search(r"showing [\d,]+ of [\d,]+ round trips", text)


def test_report_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that cannot be written leaves the old one, and no part of a new one."""
    path = tmp_path / "report.html"
    path.write_text("the old one", encoding="utf-8")

    def full(_self: Path, _text: bytes) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        written(path, made_result(bars=50))
    monkeypatch.undo()
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8") == "the old one"


def test_missing_plotly_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where plotly is not installed, one line says what to do."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(Fatal, match="plotly"):
        written(tmp_path / "report.html", made_result(bars=50))


def test_report_imports_no_heavy_package() -> None:
    """The report uses plotly's script, never its Python, and nothing of the compiler or of Parquet."""
    heavy = ("plotly", "numba", "pyarrow")
    program = f"import sys, hedgegrid.backtest.report; print([one for one in {heavy} if one in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("colours", [palette.LIGHT, palette.DARK], ids=["light", "dark"])
def test_texts_have_contrast(colours: dict[str, str]) -> None:
    """Whatever is written in a colour can be read on both grounds, in both schemes."""
    assert set(palette.LIGHT) == set(palette.DARK)
    for name in ("ink", "muted", "gain", "loss", "focus"):
        for ground in ("ground", "surface"):
            assert _contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for name in ("long", "short", "price", "equity", "drawdown", "center", "hold"):
        assert _contrast(colours[name], colours["surface"]) >= 3, name


def _contrast(one: str, other: str) -> float:
    """The ratio of luminances as WCAG defines it."""
    lights = sorted(_luminance(colour) for colour in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _luminance(colour: str) -> float:
    """The relative luminance of "#rrggbb"."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
