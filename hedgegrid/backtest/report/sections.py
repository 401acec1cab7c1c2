"""The sections of the report in their order: a heading, a line of what is seen, and then pictures or tables.

Invariants: a section's heading, anchor and link are written once; a picture has a title of words beside it, so that it
can be talked about and read aloud.
"""

from collections.abc import Iterator
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from hedgegrid.backtest.excursions import Excursions
from hedgegrid.backtest.figures import Figures
from hedgegrid.backtest.measure import Measures
from hedgegrid.backtest.report import tables
from hedgegrid.backtest.report.cards import comparison, glossary
from hedgegrid.backtest.report.trip_pictures import dots_kept
from hedgegrid.backtest.report.wording import count, counted, escape
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.units import NS_PER_DAY

PICTURES: Final = {
    "price": "Price, grid and fills",
    "equity": "Equity, and drawdown beneath it",
    "inventory": "What each leg held",
    "costs": "Realised profit, fees and funding",
    "profit": "Net result of a round trip",
    "holding": "Time from entry to last exit",
    "excursions": "How far the price went against a trip, and for it",
    "distance": "Distance to liquidation",
}


@attrs.frozen(kw_only=True, eq=False)
class Story:
    """What a report tells."""

    result: BacktestResult
    measures: Measures
    settings: str
    quality: tuple[str, ...]
    pessimistic: Figures | None

    def moves(self, rows: NDArray[np.bool_]) -> Excursions:
        """Give the excursions of some trips."""
        moves = self.measures.excursions
        return Excursions(**{field.name: getattr(moves, field.name)[rows] for field in attrs.fields(Excursions)})


@attrs.frozen(kw_only=True)
class Section:
    """A section: where links lead, its name in the bar, its heading, and its content as HTML."""

    anchor: str
    short: str
    heading: str
    body: str
    new_page: bool = False
    whole: bool = False

    def html(self) -> str:
        """Build the section; on paper it begins a page, or stays on one, where that was asked for."""
        classes = [name for name, wanted in (("page", self.new_page), ("whole", self.whole)) if wanted]
        kind = f' class="{" ".join(classes)}"' if classes else ""
        return (
            f'<section id="{self.anchor}"{kind} aria-labelledby="h-{self.anchor}">'
            f'<h2 id="h-{self.anchor}">{self.heading}</h2>{self.body}</section>'
        )


def picture(name: str, *, titled: bool = False) -> str:
    """Build the place of a picture, with the buttons that show and hide its parts."""
    title = PICTURES[name]
    caption = f"<figcaption>{title}</figcaption>" if titled else ""
    return (
        f'<figure>{caption}<div class="legend" role="group" aria-label="Shown: {title}" data-legend="{name}"></div>'
        f'<div class="plot" id="plot-{name}" role="img" aria-label="{title}"></div></figure>'
    )


def lead(text: str) -> str:
    """Build the line under a heading."""
    return f'<p class="lead">{text}</p>'


def all_sections(story: Story) -> Iterator[Section]:
    """Give the sections in their order; the first one is the key figures, whose cards the page builds."""
    yield Section(anchor="figures", short="Figures", heading="Key figures", body="")
    yield _price(story)
    yield _equity()
    yield _inventory(story)
    yield _costs(story)
    yield _months(story)
    yield _trips(story)
    yield _excursions(story)
    yield _distance()
    yield _pauses(story)
    yield _ambiguity(story)
    yield _quality(story)
    yield _settings(story)
    yield Section(
        anchor="glossary",
        short="Glossary",
        heading="All figures and what they mean",
        body=glossary(story.measures.figures),
        new_page=True,
    )


def _chooser(story: Story, name: str) -> str:
    """Build the choice of an instrument, where there are several; on paper, the name of the one that is shown."""
    instruments = story.result.instruments
    if len(instruments) == 1:
        return ""
    options = "".join(f'<option value="{at}">{escape(one.name)}</option>' for at, one in enumerate(instruments))
    return (
        f'<label for="choose-{name}">Instrument</label>'
        f'<select id="choose-{name}" data-instrument autocomplete="off">{options}</select>'
        f'<span class="print-only" data-of-instrument>{escape(instruments[0].name)}</span>'
    )


def _of_instrument(story: Story) -> str:
    """Say on paper which instrument a picture shows."""
    instruments = story.result.instruments
    if len(instruments) == 1:
        return ""
    return f'<p class="print-only">Instrument: <span data-of-instrument>{escape(instruments[0].name)}</span></p>'


def _tools(story: Story, name: str, *, zooms: bool = True) -> str:
    """Build the choices above a picture."""
    days = (story.result.end_ns - story.result.start_ns) / NS_PER_DAY
    lasts = [(1, "last day"), (7, "last week"), (30, "last 30 days"), (365, "last year")] if zooms else []
    buttons = "".join(
        f'<button type="button" data-last="{length}">{text}</button>' for length, text in lasts if length < days
    )
    whole = '<button type="button" data-whole hidden>Show the whole period</button>' if zooms else ""
    chooser = _chooser(story, name)
    return f'<div class="tools">{chooser}{buttons}{whole}</div>' if chooser or buttons or whole else ""


def _price(story: Story) -> Section:
    """The market with what the grid did in it."""
    fills = count(len(story.result.fills))
    text = (
        "Drag over a stretch to see it closer, here and in every picture over time; double-click for the whole. "
        "Shaded in blue and orange: where each leg's entries stood. Shaded in yellow: trading was paused."
    )
    empty = f'<p class="note" data-shown="price">The run had {fills} fills.</p>'
    body = lead(text) + _tools(story, "price") + _of_instrument(story) + picture("price") + empty
    return Section(anchor="price", short="Price", heading=PICTURES["price"], body=body, whole=True)


def _equity() -> Section:
    """The account's worth."""
    text = (
        "Wallet and open profit together, at every decision; the diamonds mark the deepest fall, which is looked for "
        "at every point between them too. Each stretch keeps its highest, lowest and last value. Where buy and hold "
        "would flatten equity it is off until its button is pressed."
    )
    whole = '<div class="tools"><button type="button" data-whole hidden>Show the whole period</button></div>'
    body = lead(text) + whole + picture("equity")
    return Section(anchor="equity", short="Equity", heading=PICTURES["equity"], body=body, whole=True)


def _inventory(story: Story) -> Section:
    """Quantities held."""
    body = lead(
        "LONG above zero, SHORT below, in base units. Where it changed more often than the eye can follow: the largest "
        "and the mean of each stretch of time."
    ) + _tools(story, "inventory", zooms=False)
    body += _of_instrument(story) + picture("inventory")
    return Section(anchor="inventory", short="Inventory", heading=PICTURES["inventory"], body=body, whole=True)


def _costs(story: Story) -> Section:
    """Where the money came from and went."""
    text = "Summed since the start. Fees and funding count downwards: what they took; above zero, what they gave."
    body = lead(text) + picture("costs") + tables.fill_table(story.result)
    if len(story.result.instruments) > 1:
        body += tables.instrument_table(story.measures)
    return Section(anchor="costs", short="Fees and funding", heading=PICTURES["costs"], body=body, new_page=True)


def _months(story: Story) -> Section:
    """The calendar."""
    return Section(
        anchor="months", short="Months", heading="Month by month", body=tables.month_table(story.measures.months)
    )


def _trips(story: Story) -> Section:
    """What lots made."""
    trips = story.measures.trips
    if len(trips) == 0:
        body = lead("No lot was opened and closed whole.") + picture_pair()
        return Section(anchor="trips", short="Round trips", heading="Round trips", body=body)
    text = (
        f"{counted(len(trips), 'lot was', 'lots were')} opened and closed whole. Results are after fees and before "
        "funding. The outermost columns hold all that lies beyond."
    )
    body = lead(text) + _tools(story, "trips", zooms=False) + _of_instrument(story) + picture_pair()
    body += tables.trip_table(story.result, trips)
    return Section(anchor="trips", short="Round trips", heading="Round trips", body=body, new_page=True)


def picture_pair() -> str:
    """Build both distributions side by side."""
    return f'<div class="pair">{picture("profit", titled=True)}{picture("holding", titled=True)}</div>'


def _excursions(story: Story) -> Section:
    """MAE and MFE."""
    result, trips = story.result, story.measures.trips
    total = np.bincount(trips["instrument"], minlength=len(result.instruments)).tolist()
    shown = [dots_kept(number, len(total)) for number in total]
    thinned = [
        f"{escape(one.name)}: showing {count(few)} of {count(all_)} round trips"
        for one, few, all_ in zip(result.instruments, shown, total, strict=True)
        if few < all_
    ]
    text = (
        "Each mark is a round trip. Far to the right: it was deep under water before it ended. High up: it could have "
        "taken more than it did. Lost trips that stand high point at take-profits that are too far; gained ones that "
        "stand far right, at stops that were nearly hit."
    )
    note = f'<p class="note">{"; ".join(thinned)}.</p>' if thinned else ""
    body = lead(text) + _tools(story, "excursions", zooms=False) + _of_instrument(story) + picture("excursions") + note
    return Section(anchor="excursions", short="MAE and MFE", heading="MAE and MFE", body=body, whole=True)


def _distance() -> Section:
    """How near the end was."""
    text = (
        "How far the mark of the instrument that was nearest would have had to move, alone, until equity met the "
        "maintenance margin. No position, and more than the whole mark, are drawn as 100 %; where it changes too "
        "often to be seen, the nearest of each stretch is drawn."
    )
    body = lead(text) + picture("distance")
    return Section(anchor="distance", short="Liquidation", heading=PICTURES["distance"], body=body, whole=True)


def _pauses(story: Story) -> Section:
    """When trading was held back."""
    return Section(anchor="pauses", short="Pauses", heading="Pauses", body=tables.pause_table(story.result))


def _ambiguity(story: Story) -> Section:
    """What bars cannot tell."""
    result, pessimistic = story.result, story.pessimistic
    if result.is_ticks:
        text = "The market was walked trade by trade: the order of events is the record's own."
        return Section(anchor="ambiguity", short="Ambiguity", heading="Ambiguous bars", body=lead(text))
    bars = sum(len(one.open_ns) for one in result.bars)
    text = (
        f"In {count(result.ambiguous_bars)} of {counted(bars, 'bar', 'bars')} both a take-profit and the stop of one "
        "lot could have filled, and a bar does not tell which came first."
    )
    if pessimistic is None:
        body = lead(f"{text} The pessimistic bound was not worked out: run with <code>--pessimistic</code> for it.")
        return Section(anchor="ambiguity", short="Ambiguity", heading="Ambiguous bars", body=body)
    columns = [
        tables.Column(head="Figure", is_figure=False),
        tables.Column(head="As modelled"),
        tables.Column(head="Worse first"),
    ]
    rows = [tuple(escape(cell) for cell in row) for row in comparison(story.measures.figures, pessimistic)]
    body = lead(f"{text} Beside the result: the bound in which the worse comes first.")
    body += tables.table("The result and its pessimistic bound", columns, rows)
    return Section(anchor="ambiguity", short="Ambiguity", heading="Ambiguous bars", body=body)


def _quality(story: Story) -> Section:
    """What a reader should know of the record."""
    notes = (*story.quality, *(note for note in story.result.notes if note not in story.quality))
    body = tables.note_list(notes, "Nothing was found wanting in the market's record.")
    return Section(anchor="quality", short="Record", heading="Quality of the market's record", body=body)


def _settings(story: Story) -> Section:
    """What was asked for."""
    body = f'<pre tabindex="0" aria-label="Settings">{escape(story.settings)}</pre>'
    return Section(anchor="settings", short="Settings", heading="Settings", body=body)
