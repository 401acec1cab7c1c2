"""What `hedgegrid init` asks, and the file it makes of the answers.

Invariants: pure (how a question reaches the user is the caller's business); every question has a default that is
itself a valid answer; an answer is judged by the schema's own checks; the text that comes out loads without a
problem and names every setting with its meaning and unit.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal

import attrs

from hedgegrid.config.fields import Section, settings_of, value_fault
from hedgegrid.config.grid import GridConfig, LadderConfig
from hedgegrid.config.load import ConfigError
from hedgegrid.config.render import render_effective
from hedgegrid.config.schema import AccountSection, JournalConfig
from hedgegrid.config.sim import SyntheticConfig
from hedgegrid.config.structure import structure
from hedgegrid.config.values import Check, instrument_fault, plain, settle_of

Ask = Callable[["Question"], str]
"""How a question reaches the user: gives the text of the answer, empty for the default."""
Answers = Mapping[str, str]
"""Texts of the answers by the question's key."""

_TRIES_MAX = 5
_INSTRUMENTS_MAX = 20
_BPS = 10_000
_NUMBER = r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?"
_COUNT = r"[+-]?[0-9]{1,30}"
_AMOUNT_MAX = Decimal(10**10)
_CENT = Decimal("0.01")
_LEAST_QUOTE = Decimal("0.00000001")
_LEAST_QTY = Decimal("0.000001")
_LEAST_BPS = Decimal("0.01")
_TRIGGER_SHARE = Decimal("0.625")  # 60 bps of the 8 x 12 bps of the defaults
_HEADER = """\
# Settings of one hedgegrid account, written by `hedgegrid init`.
# Units: bps = 0.01 %, ratio 0.02 = 2 %, quote = the quote currency, base = the instrument's base currency.
# `hedgegrid check --config FILE` checks it. Secrets are never written here, only { env = "NAME" } or { file = "path" }.
"""


@attrs.frozen(kw_only=True)
class Question:
    """One question: `key` names the answer, `problem` says why the last answer was refused (empty at first)."""

    key: str
    prompt: str
    default: str
    check: Check
    problem: str = ""


def run_wizard(ask: Ask) -> str:
    """Ask everything and write the file's text.

    Raises:
        ConfigError: a question got no valid answer in a bounded number of tries, or the answers contradict.
    """
    answers: dict[str, str] = {}
    for question in questions(answers):
        answers[question.key] = _answer(ask, question)
    return compose(answers)


def questions(answers: Answers) -> Iterator[Question]:
    """Give the questions in order; each is made when it is due, from the answers there are by then."""
    yield Question(key="name", prompt="Account name", default="demo", check=_judge(AccountSection, "name"))
    yield Question(
        key="instruments",
        prompt="Instruments, separated by commas",
        default="BTC/USDT:USDT",
        check=_instruments_fault,
    )
    yield Question(
        key="wallet_quote",
        prompt="Wallet, in quote units",
        default="10000",
        check=_judge(AccountSection, "wallet_quote"),
    )
    for instrument in _instruments(answers):
        if instrument not in _known_prices():
            yield Question(
                key=f"price {instrument}",
                prompt=f"{instrument}: start price of the synthetic market",
                default="100",
                check=_price_fault,
            )
    yield from _ladder_questions(answers)
    yield Question(
        key="journal",
        prompt="Path of the journal",
        default=f"state/{answers['name']}.db",
        check=_judge(JournalConfig, "path"),
    )


def compose(answers: Answers) -> str:
    """Write the commented file that a full set of valid answers describes.

    Raises:
        ConfigError: the answers contradict each other.
    """
    config, problems = structure(_document(answers))
    if config is None:
        raise ConfigError(tuple(f"{each.path}: {each.message}" for each in problems), "the answers")
    return f"{_HEADER}\n{render_effective(config)}"


def _answer(ask: Ask, question: Question) -> str:
    """Ask until the answer is valid, a bounded number of times.

    Raises:
        ConfigError: no answer was valid.
    """
    for _ in range(_TRIES_MAX):
        text = ask(question).strip() or question.default
        problem = question.check(text)
        if problem is None:
            return text
        question = attrs.evolve(question, problem=problem)
    raise ConfigError((f"{question.prompt}: {question.problem}",), "the answers")


def _ladder_questions(answers: Answers) -> Iterator[Question]:
    """Ask for the ladders: common steps and levels, quantities of each instrument."""
    yield Question(
        key="step_bps",
        prompt="Distance of neighbouring rungs, in bps",
        default="12",
        check=_judge(LadderConfig, "step_bps"),
    )
    yield Question(
        key="levels",
        prompt="Rungs on each side",
        default="8",
        check=lambda text: _levels_fault(text, Decimal(answers["step_bps"])),
    )
    # Twice the wallet on a leg, shared by the instruments, is what the defaults of [risk] allow at their leverage.
    share = 2 * Decimal(answers["wallet_quote"]) / len(_instruments(answers))
    yield Question(
        key="max_inventory_quote",
        prompt="Largest position of a leg, in quote units",
        default=plain(_amount(share.quantize(_CENT, ROUND_HALF_EVEN))),
        check=_judge(LadderConfig, "max_inventory_quote"),
    )
    yield Question(
        key="size_in",
        prompt="Size of a rung given in base or quote units",
        default="base",
        check=lambda text: None if text in {"base", "quote"} else "expected base or quote",
    )
    if answers["size_in"] == "quote":
        yield Question(
            key="base_quote",
            prompt="Amount of a rung, in quote units",
            default=plain(_usual_rung(answers)),
            check=_judge(LadderConfig, "base_quote"),
        )
    for instrument in _instruments(answers):
        yield from _quantity_questions(answers, instrument)


def _usual_rung(answers: Answers) -> Decimal:
    """Return an amount for a rung, in quote units, with which a filled ladder fits the inventory."""
    fitting = Decimal(answers["max_inventory_quote"]) / int(answers["levels"])
    return _amount(min(Decimal(600), fitting.quantize(_CENT, ROUND_HALF_EVEN)))


def _quantity_questions(answers: Answers, instrument: str) -> Iterator[Question]:
    """Ask for what is counted in an instrument's own base currency."""
    if answers["size_in"] == "base":
        usual = _usual_rung(answers) / _price(answers, instrument)
        yield Question(
            key=f"base_qty {instrument}",
            prompt=f"{instrument}: quantity of a rung, in base units",
            default=plain(_quantity(usual)),
            check=_judge(LadderConfig, "base_qty"),
        )
    affordable = Decimal(answers["max_inventory_quote"]) / _price(answers, instrument)
    filled = Decimal(answers.get(f"base_qty {instrument}", "0")) * int(answers["levels"])
    yield Question(
        key=f"max_position_qty {instrument}",
        prompt=f"{instrument}: largest position of a leg, in base units",
        default=plain(_quantity(max(affordable, filled))),
        check=_judge(GridConfig, "max_position_qty"),
    )


def _document(answers: Answers) -> dict[str, object]:
    """Arrange the answers, and the limits that follow from them, as a parsed file would be."""
    instruments = _instruments(answers)
    return {
        "account": {"name": answers["name"], "wallet_quote": Decimal(answers["wallet_quote"])},
        "sim": {"synthetic": {"prices": {each: _price(answers, each) for each in instruments}}},
        "grid": [_grid(answers, each) for each in instruments],
        "risk": _risk(answers, len(instruments)),
        "journal": {"path": answers["journal"]},
    }


def _grid(answers: Answers, instrument: str) -> dict[str, object]:
    """Arrange one grid; the recentering trigger keeps the default's share of the ladder's span."""
    step_bps, levels = Decimal(answers["step_bps"]), int(answers["levels"])
    trigger_bps = max((step_bps * levels * _TRIGGER_SHARE).quantize(_LEAST_BPS, ROUND_HALF_EVEN), _LEAST_BPS)
    size = (
        {"base_qty": Decimal(answers[f"base_qty {instrument}"])}
        if answers["size_in"] == "base"
        else {"base_quote": Decimal(answers["base_quote"])}
    )
    return {
        "instrument": instrument,
        "max_position_qty": Decimal(answers[f"max_position_qty {instrument}"]),
        "ladder": {
            **size,
            "step_bps": step_bps,
            "levels_long": levels,
            "levels_short": levels,
            "recenter_trigger_bps": trigger_bps,
            "max_inventory_quote": Decimal(answers["max_inventory_quote"]),
        },
    }


def _risk(answers: Answers, grids: int) -> dict[str, object]:
    """Derive limits from the answers in the proportions of the defaults, wide enough for the ladders asked for."""
    inventory, wallet = Decimal(answers["max_inventory_quote"]), Decimal(answers["wallet_quote"])
    levels, step_bps = int(answers["levels"]), Decimal(answers["step_bps"])
    leg, slice_quote = _amount(inventory * grids), _amount(inventory / 4)
    return {
        "max_order_notional_quote": max(slice_quote, Decimal(answers.get("base_quote", "0"))),
        "max_notional_per_leg_quote": leg,
        "max_gross_notional_quote": _amount(2 * leg),
        "max_net_notional_quote": leg,
        "max_open_orders_per_leg": max(40, levels),
        "price_collar_bps": max(Decimal(500), levels * step_bps),
        "flatten_slice_quote": slice_quote,
        "daily_loss": {"max_quote": _amount(wallet * Decimal("0.03"))},
        "session_loss": {"max_quote": _amount(wallet * Decimal("0.05"))},
    }


def _amount(quote: Decimal) -> Decimal:
    """Bring a derived amount within what a quote setting can be."""
    return min(max(quote.quantize(_LEAST_QUOTE, ROUND_HALF_EVEN), _LEAST_QUOTE), _AMOUNT_MAX)


def _quantity(base: Decimal) -> Decimal:
    """Bring a derived quantity within what a base setting can be, not finer than a user would write."""
    return min(max(base, _LEAST_QTY).quantize(_LEAST_QTY, ROUND_HALF_EVEN), _AMOUNT_MAX)


def _instruments(answers: Answers) -> list[str]:
    """Return the instruments of the answer, in its order."""
    return [each.strip() for each in answers["instruments"].split(",")]


def _known_prices() -> Mapping[str, Decimal]:
    """Start prices that need no question."""
    return SyntheticConfig().prices


def _price(answers: Answers, instrument: str) -> Decimal:
    """Start price of an instrument."""
    return _known_prices().get(instrument) or Decimal(answers[f"price {instrument}"])


def _judge(cls: type[Section], name: str) -> Check:
    """Return a check of an answer's text by the schema's own checks of a setting."""
    setting = next(each for each in settings_of(cls) if each.name == name)

    def check(text: str) -> str | None:
        value = _parsed(text, setting.type)
        return value_fault(setting.type, setting.checks, value)

    return check


def _parsed(text: str, target: object) -> object:
    """Read an answer as the type a setting has; what cannot be read stays text, which the check refuses."""
    if target is Decimal and re.fullmatch(_NUMBER, text):
        return Decimal(text)
    return int(text) if target is int and re.fullmatch(_COUNT, text) else text


def _levels_fault(text: str, step_bps: Decimal) -> str | None:
    """Why there cannot be so many rungs of this step."""
    fault = _judge(LadderConfig, "levels_long")(text)
    if fault is not None:
        return fault
    return f"rungs {plain(step_bps)} bps apart would reach a price of zero" if int(text) * step_bps >= _BPS else None


def _price_fault(text: str) -> str | None:
    """Why this is not a start price; the bounds are those of an amount in quote units."""
    return _judge(AccountSection, "wallet_quote")(text)


def _instruments_fault(text: str) -> str | None:
    """Why this is not a list of different instruments that settle in one currency."""
    listed = _instruments({"instruments": text})
    fault = next((fault for each in listed if (fault := instrument_fault(each)) is not None), None)
    if fault is not None:
        return fault
    if len(set(listed)) < len(listed):
        return "an instrument is named twice"
    if len({settle_of(each) for each in listed}) > 1:
        return "all instruments must settle in one currency"
    return f"at most {_INSTRUMENTS_MAX} instruments" if len(listed) > _INSTRUMENTS_MAX else None
