"""The report in a real browser: it opens without a complaint, draws everything, and answers to what a reader does.

Chromium and its driver are the system's (Debian packages chromium and chromium-driver): nothing is downloaded.
"""

import base64
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.ui import WebDriverWait

from tests.backtest.made_result import made_liquidation, made_result
from tests.backtest.report.report_cases import hostile_result, repeated, written

PATIENCE_S: Final = 120
"""A shared machine is slow at times."""
PLOTS: Final = ("price", "equity", "inventory", "costs", "profit", "holding", "excursions", "distance")
TIME_PLOTS: Final = ("price", "equity", "inventory", "costs", "distance")
DRAWN: Final = ".scatterlayer .trace path, .scatterlayer .trace use, .barlayer .trace path, .boxlayer path"


class Reader:
    """A person with a browser, and with eyes on its console and its requests."""

    def __init__(self, driver: Chrome) -> None:
        """Sit down at a browser."""
        self.driver = driver

    def open(self, path: Path, *, width: int = 1280, scheme: str = "light") -> None:
        """Open a report and wait until it is drawn."""
        self.driver.set_window_size(width, 900)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
        self.complaints()
        self.requests()
        self.driver.get(path.as_uri())
        self.until("return document.documentElement.dataset.ready === 'yes'")

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: object) -> None:
        """Wait until a script says yes."""
        wait = WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.05)
        wait.until(lambda _: self.run(script, *arguments), script)

    def one(self, selector: str) -> WebElement:
        """Find one element and bring it into the middle of the window."""
        element = self.driver.find_element(By.CSS_SELECTOR, selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        return element

    def _log(self, name: str) -> list[dict[str, str]]:
        """What a log of the browser holds since it was last read."""
        entries: list[dict[str, str]] = self.driver.get_log(name)  # type: ignore[no-untyped-call]
        return entries

    def complaints(self) -> list[str]:
        """What the console said since it was last asked."""
        return [f"{entry['level']}: {entry['message']}" for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since this was last asked."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
        return [address for address in sent if not address.startswith("data:")]

    def drawn(self, plot: str) -> int:
        """How many marks and lines of a plot cover any of the screen."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].filter((one) => {"
            "const box = one.getBoundingClientRect(); return box.width + box.height > 0; }).length"
        )
        count: int = self.run(script, ", ".join(f"#plot-{plot} {one}" for one in DRAWN.split(", ")))
        return count

    def times(self, plot: str) -> list[str]:
        """The stretch of time that a plot shows."""
        return [str(one) for one in self.run(f"return document.getElementById('plot-{plot}').layout.xaxis.range")]

    def ink(self) -> str:
        """The colour of the price plot's ticks."""
        script = "return getComputedStyle(document.querySelector('#plot-price .ytick text')).fill"
        return str(self.run(script))


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    """A browser without a window."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("install Debian packages chromium and chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    flags = [
        "headless=new",
        "disable-dev-shm-usage",
        "hide-scrollbars",
        "disable-background-networking",
        "no-first-run",
    ]
    if os.geteuid() == 0:
        flags.append("no-sandbox")
    for flag in flags:
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=Service(driver))
    try:
        yield Reader(chrome)
    finally:
        chrome.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two instruments, with names and texts that would break out if they could."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    written(path, hostile_result(), settings='<img src="https://example.invalid/x">')
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_whole_quiet_and_alone(reader: Reader, report: Path, tmp_path: Path, scheme: str) -> None:
    """Every plot draws, the console stays empty, and the file asks for nothing but itself."""
    reader.open(report, scheme=scheme)
    assert {plot: reader.drawn(plot) > 0 for plot in PLOTS} == dict.fromkeys(PLOTS, True)
    assert reader.complaints() == []
    assert reader.requests() == [report.as_uri()]
    picture = tmp_path / f"report-1280-{scheme}.png"
    assert reader.driver.save_screenshot(str(picture))
    assert picture.stat().st_size > 20_000


@pytest.mark.parametrize("width", [1280, 1440, 600])
def test_nothing_is_wider_than_the_window(reader: Reader, report: Path, width: int) -> None:
    """A page is read without scrolling sideways; wide tables scroll within themselves."""
    reader.open(report, width=width)
    assert reader.run("return document.documentElement.scrollWidth <= innerWidth")


def test_liquidation_is_seen(reader: Reader, tmp_path: Path) -> None:
    """The report of a dead account draws its end and complains of nothing."""
    path = tmp_path / "report.html"
    written(path, made_liquidation())
    reader.open(path)
    assert reader.one(".verdict").text.endswith("LIQUIDATED")
    legend = reader.one('[data-legend="price"]').text
    assert "LONG liquidation" in legend
    assert reader.complaints() == []


def test_instrument_is_chosen_everywhere(reader: Reader, report: Path) -> None:
    """Choosing an instrument in one place changes every picture and every choice that is of one instrument."""
    reader.open(report)
    before = {plot: reader.run(f"return document.getElementById('plot-{plot}').innerHTML") for plot in PLOTS}
    Select(reader.one("#choose-trips")).select_by_visible_text("ETH/USDT:USDT")
    after = {plot: reader.run(f"return document.getElementById('plot-{plot}').innerHTML") for plot in PLOTS}
    changed = {plot for plot in PLOTS if before[plot] != after[plot]}
    assert changed == {"price", "inventory", "profit", "holding", "excursions"}
    chosen = reader.run("return [...document.querySelectorAll('select')].map((one) => one.value)")
    assert chosen == ["1"] * 4
    assert reader.complaints() == []


def test_legend_shows_and_hides(reader: Reader, report: Path) -> None:
    """A button of the legend takes a part away and brings it back, by mouse and by keyboard, and keeps the focus."""
    reader.open(report)
    shown = reader.drawn("costs")
    button = '[data-legend="costs"] button:nth-child(2)'
    reader.one(button).click()
    assert reader.one(button).get_attribute("aria-pressed") == "false"
    assert reader.drawn("costs") < shown
    assert reader.run("return document.activeElement.textContent") == "Fees"
    ActionChains(reader.driver).send_keys(Keys.ENTER).perform()
    assert reader.one(button).get_attribute("aria-pressed") == "true"
    assert reader.drawn("costs") == shown
    assert reader.complaints() == []


def test_zoom_moves_all_pictures_over_time(reader: Reader, report: Path) -> None:
    """A stretch dragged in one picture is seen in all of them, closer; a button brings the whole period back."""
    reader.open(report)
    whole = {plot: reader.times(plot) for plot in TIME_PLOTS}
    steps = reader.one('[data-shown="price"]').text
    plot = reader.one("#plot-price .nsewdrag")
    drag = ActionChains(reader.driver).move_to_element_with_offset(plot, -200, 0).click_and_hold()
    drag.move_by_offset(60, 0).move_by_offset(60, 4).release().perform()
    reader.until("return !document.querySelector('[data-whole]').hidden")
    times = {name: reader.times(name) for name in TIME_PLOTS}
    assert len({tuple(one) for one in times.values()}) == 1
    assert times["price"] != whole["price"]
    assert reader.one('[data-shown="price"]').text != steps
    assert reader.drawn("price") > 0
    reader.one("[data-whole]").click()
    assert {name: reader.times(name) for name in TIME_PLOTS} == whole
    reader.one('[data-last="7"]').click()
    assert reader.times("equity") != whole["equity"]
    assert reader.complaints() == []


def test_double_click_shows_the_whole_again(reader: Reader, report: Path) -> None:
    """The gesture that plots are known for works in the pictures over time."""
    reader.open(report)
    whole = reader.times("equity")
    reader.one('[data-last="1"]').click()
    assert reader.times("equity") != whole
    plot = reader.one("#plot-price .nsewdrag")
    ActionChains(reader.driver).double_click(plot).perform()
    reader.until("return document.querySelector('[data-whole]').hidden")
    assert reader.times("equity") == whole


def test_thinned_fills_are_said(reader: Reader, tmp_path: Path) -> None:
    """A picture that leaves fills out says how many it shows, how many the page holds, and of how many."""
    path = tmp_path / "report.html"
    result = repeated(made_result(bars=400), 120)
    written(path, result)
    reader.open(path)
    total = int((result.fills["instrument"] == 0).sum())
    assert total > 18_000
    text = reader.one('[data-shown="price"]').text
    assert f"fills in view that this page holds (18,000 of the {total:,} fills of this instrument" in text
    assert reader.run("return document.querySelectorAll('#plot-price .scatterlayer .point').length") <= 1_100


def test_figures_explain_themselves(reader: Reader, report: Path) -> None:
    """A key figure tells its meaning under the pointer and by keyboard, and Escape puts it away."""
    reader.open(report)
    card = reader.one(".card:nth-child(7)")
    tip = card.find_element(By.CSS_SELECTOR, ".tip")
    assert not tip.is_displayed()
    ActionChains(reader.driver).move_to_element(card).perform()
    assert tip.is_displayed()
    assert "sqrt(365)" in tip.text
    ActionChains(reader.driver).move_to_element(reader.one("h1")).perform()
    reader.run("arguments[0].focus()", card)
    assert tip.is_displayed()
    ActionChains(reader.driver).send_keys(Keys.ESCAPE).perform()
    assert not tip.is_displayed()


def test_links_lead_to_their_sections(reader: Reader, report: Path) -> None:
    """The bar of sections stays in reach, and each link leads to its heading."""
    reader.open(report)
    for link in reader.driver.find_elements(By.CSS_SELECTOR, "nav a"):
        anchor = str(link.get_attribute("href")).rpartition("#")[2]
        link.click()
        reader.until(
            "const top = document.getElementById(arguments[0]).getBoundingClientRect().top;"
            "return top >= 0 && top < innerHeight",
            f"h-{anchor}",
        )


def test_tab_key_shows_where_it_is(reader: Reader, report: Path) -> None:
    """Whoever goes by keyboard sees the focus: the first stop is the link past the header."""
    reader.open(report)
    ActionChains(reader.driver).send_keys(Keys.TAB).perform()
    focused = reader.driver.switch_to.active_element
    assert focused.text == "Skip to the figures"
    assert focused.value_of_css_property("outline-style") == "solid"


def test_paper_is_light_and_whole(reader: Reader, report: Path, tmp_path: Path) -> None:
    """Printing from a dark screen gives a light document of several pages, and the screen is dark again after it."""
    reader.open(report, scheme="dark")
    dark = reader.ink()
    reader.run(
        "window.inks = []; addEventListener('beforeprint', () => window.inks.push("
        "getComputedStyle(document.querySelector('#plot-price .ytick text')).fill, "
        "document.querySelector('#plot-price .main-svg').getAttribute('width')))"
    )
    printed = reader.driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    pdf = base64.b64decode(printed["data"])
    (tmp_path / "report.pdf").write_bytes(pdf)
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") >= 5
    ink, width = reader.run("return window.inks")
    assert ink != dark
    assert width == "700"
    reader.until("return document.querySelector('#plot-price .main-svg').getAttribute('width') !== '700'")
    assert reader.ink() == dark
    assert reader.complaints() == []


def test_scheme_changes_while_the_page_is_open(reader: Reader, report: Path) -> None:
    """When the system goes dark, so do the plots."""
    reader.open(report)
    light = reader.ink()
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
    reader.until(
        "return getComputedStyle(document.querySelector('#plot-price .ytick text')).fill !== arguments[0]", light
    )
    assert reader.complaints() == []
