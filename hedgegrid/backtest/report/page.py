"""``report.html``: a backtest as one file that a person opens, reads and keeps.

Invariants: the file asks no machine for anything, and its own policy forbids it to: scripts and styles run by the hash
of their text alone; every text from outside is escaped, in HTML, in labels of plots and inside the rows; the file
appears whole or not at all.
"""

import base64
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Final

import msgspec

from hedgegrid.backtest.exact import take
from hedgegrid.backtest.figures import Figures
from hedgegrid.backtest.measure import Measures
from hedgegrid.backtest.names import PAUSE_CHANGES
from hedgegrid.backtest.report import account_pictures, palette, trip_pictures
from hedgegrid.backtest.report.cards import card_list, facts, headline, quote_name, verdict
from hedgegrid.backtest.report.packing import NS_PER_MS, Spec
from hedgegrid.backtest.report.price_picture import price_picture
from hedgegrid.backtest.report.sections import Story, all_sections
from hedgegrid.backtest.report.wording import escape, plot_text
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.spare_memory import give_back
from hedgegrid.errors import Fatal

ASSETS: Final = resources.files("hedgegrid.backtest.report") / "assets"
SCRIPTS: Final = ("plots.js", "price.js", "page.js")
SHADES_MOST: Final = 200
"""Pauses that are drawn behind the plots."""
_RAISED, _CLEARED = PAUSE_CHANGES.index("raised"), PAUSE_CHANGES.index("cleared")
_TINTS: Final = 10
_PLOTLY: Final = "$plotly"
_STAND_IN: Final = re.compile(rb'getElementById\("([0-9a-f]{64})"\)')


def write_report(
    path: Path,
    result: BacktestResult,
    measures: Measures,
    *,
    settings: str,
    quality: Sequence[object],
    title: str,
    pessimistic: Figures | None,
    code_version: str,
) -> None:
    """Write the report of a run.

    ``settings`` is the configuration as text; ``quality`` what the market's record lacks, a line each (anything that
    ``str`` turns into one); ``pessimistic`` the figures of the same run with the worse of ambiguous exits first.
    Fatal where plotly's script is not installed; OSError where the file cannot be written.
    """
    story = Story(
        result=result,
        measures=measures,
        settings=settings,
        quality=tuple(str(one) for one in quality),
        pessimistic=pessimistic,
    )
    text = build(story, title, code_version, plotly_script())
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def build(story: Story, title: str, code_version: str, plotly: bytes) -> bytes:
    """Build the page around plotly's script, which stays the bytes that it is: as text it takes several times more."""
    result, figures = story.result, story.measures.figures
    quote = quote_name(result)
    sections = list(all_sections(story))
    style = style_sheet()
    script = "\n".join(_asset(name) for name in SCRIPTS)
    words = {
        "policy": escape(policy_of((plotly, script), (style, ""))),
        "title": escape(title),
        "stand_ins": stand_ins_of(plotly),
        "style": style,
        "verdict": verdict(result),
        "headline": headline(result, figures, quote),
        "facts": facts(result, code_version),
        "contents": "".join(f'<li><a href="#{one.anchor}">{one.short}</a></li>' for one in sections),
        "sections": _key_figures(figures, quote) + "".join(one.html() for one in sections[1:]),
        "version": escape(code_version),
        "rows": _rows(story),
        "script": script,
    }
    before, after = (Template(part).substitute(words).encode() for part in _asset("page.html").split(_PLOTLY))
    return before + plotly + after


def _key_figures(figures: Figures, quote: str) -> str:
    """Build the section of the cards."""
    lead = '<p class="note screen">Point at a figure, or reach it with the Tab key, for its meaning.</p>'
    cards = card_list(figures, quote)
    return (
        f'<section id="figures" aria-labelledby="h-figures"><h2 id="h-figures">Key figures</h2>{cards}{lead}</section>'
    )


def plotly_script() -> bytes:
    """Give the text of plotly's script, from the installed package, which is not imported for it (it is heavy)."""
    found = importlib.util.find_spec("plotly")
    places: Iterable[str] = (found.submodule_search_locations or ()) if found is not None else ()
    for place in places:
        script = Path(place) / "package_data" / "plotly.min.js"
        if script.is_file():
            # "</script" would end the element; inside a script's text and patterns the backslash changes nothing.
            return script.read_bytes().replace(b"</script", b"<\\/script").replace(b"<!--", b"<\\!--")
    message = "report.html needs the package plotly with its plotly.min.js: install the project's requirements"
    raise Fatal(message)


def stand_ins_of(plotly: bytes) -> str:
    """Build elements that keep plotly from writing styles of maps into the page: it looks for their ids first."""
    ids = sorted(set(_STAND_IN.findall(plotly)))
    return "".join(f'<meta name="stand-in" id="{one.decode()}">\n' for one in ids)


def _asset(name: str) -> str:
    """Read a file of the package."""
    return (ASSETS / name).read_text(encoding="utf-8")


def style_sheet() -> str:
    """Build the style sheet with both palettes and the tints of the monthly table."""
    tints = [
        f".tint.{tone}.s{step} {{ background: color-mix(in srgb, var(--{tone}) {4 * step}%, transparent); }}"
        for tone in ("gain", "loss")
        for step in range(1, _TINTS + 1)
    ]
    light, dark = palette.properties(palette.LIGHT), palette.properties(palette.DARK)
    schemes = f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n"
    return schemes + _asset("report.css").replace("$tints", "\n".join(tints))


def policy_of(scripts: Iterable[str | bytes], styles: Iterable[str]) -> str:
    """Write the policy: nothing but these scripts and styles, and images that stand in the page itself."""
    scripts_allowed = " ".join(_hash(text) for text in scripts)
    styles_allowed = " ".join(_hash(text) for text in styles)
    return (
        f"default-src 'none'; script-src {scripts_allowed}; style-src {styles_allowed}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str | bytes) -> str:
    """Give a text's hash as a policy names it."""
    encoded = text.encode() if isinstance(text, str) else text
    return f"'sha256-{base64.b64encode(hashlib.sha256(encoded).digest()).decode()}'"


def _rows(story: Story) -> str:
    """Write the rows of all pictures as JSON that cannot end its element."""
    result = story.result
    page: dict[str, Any] = {
        "palettes": {"light": palette.LIGHT, "dark": palette.DARK},
        "span": [result.start_ns // NS_PER_MS, max(result.end_ns // NS_PER_MS, result.start_ns // NS_PER_MS + 1)],
        "instruments": [plot_text(one.name) for one in result.instruments],
        "pauses": pause_spans(result),
        "plots": _plots(story),
    }
    return msgspec.json.encode(page).decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plots(story: Story) -> dict[str, list[Spec]]:
    """Draw every picture; what one needs while it is drawn is given back before the next."""
    result, measures = story.result, story.measures
    instruments = range(len(result.instruments))
    trips = measures.trips
    mine = [trips["instrument"] == index for index in instruments]
    own = [take(trips, rows) for rows in mine]
    drawn: dict[str, Iterable[Spec]] = {
        "price": (price_picture(result, index) for index in instruments),
        "equity": (account_pictures.equity_picture(result, measures) for _ in range(1)),
        "inventory": (account_pictures.inventory_picture(result, index, measures.held) for index in instruments),
        "costs": (account_pictures.costs_picture(result, measures.figures) for _ in range(1)),
        "profit": (trip_pictures.profit_picture(rows) for rows in own),
        "holding": (trip_pictures.holding_picture(rows) for rows in own),
        "excursions": (
            trip_pictures.excursion_picture(rows, story.moves(which), len(instruments))
            for rows, which in zip(own, mine, strict=True)
        ),
        "distance": (
            account_pictures.distance_picture(result, measures.figures.liquidation_distance) for _ in range(1)
        ),
    }
    plots: dict[str, list[Spec]] = {}
    for name, pictures in drawn.items():
        plots[name] = list(pictures)
        give_back()
    return plots


def pause_spans(result: BacktestResult) -> list[dict[str, int]]:
    """Give from when to when each pause stood (ms), the first ``SHADES_MOST``; what still stands lasts to the end."""
    spans: list[dict[str, int]] = []
    standing: dict[tuple[int, int], int] = {}
    for pause in result.pauses:
        key = (int(pause["reason"]), int(pause["instrument"]))
        if pause["change"] == _RAISED:
            standing.setdefault(key, int(pause["ts_ns"]))
        elif pause["change"] == _CLEARED and key in standing:
            spans.append(_span(standing.pop(key), int(pause["ts_ns"]), key[1]))
    spans += [_span(since_ns, result.end_ns, key[1]) for key, since_ns in standing.items()]
    return sorted(spans, key=lambda one: one["from"])[:SHADES_MOST]


def _span(from_ns: int, to_ns: int, instrument: int) -> dict[str, int]:
    """Give a stretch of time of one scope."""
    return {"from": from_ns // NS_PER_MS, "to": to_ns // NS_PER_MS, "instrument": instrument}
