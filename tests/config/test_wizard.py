"""`init`: whatever valid answers it is given, the file it writes is accepted and explains itself."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.config.advice import advice
from hedgegrid.config.catalogue import fields
from hedgegrid.config.load import ConfigError, loads
from hedgegrid.config.wizard import Question, questions, run_wizard


def answering(answers: dict[str, str]) -> Callable[[Question], str]:
    """A user who answers some questions and takes the default of the others."""
    return lambda question: answers.get(question.key, "")


def test_defaults_give_a_sound_file() -> None:
    """Pressing return all the way writes a file that loads, has every key with its meaning, and draws no warning."""
    text = run_wizard(answering({}))
    config = loads(text, "new.toml")
    assert advice(config) == ()
    assert config.grid[0].ladder.base_qty == Decimal("0.01")
    keys = {info.path.rpartition(".")[2] for info in fields() if not info.path.startswith("sim.instrument")}
    assert all(f"{key} =" in text for key in keys)
    assert all("# " in line for line in text.splitlines() if line and not line.startswith("["))


def test_answers_arrive_in_the_file() -> None:
    """Each answer is the setting it asks for, for each of several instruments."""
    answers = {
        "name": "second",
        "instruments": "ETH/USDT:USDT, XRP/USDT:USDT",
        "wallet_quote": "2500",
        "price XRP/USDT:USDT": "2.5",
        "step_bps": "20.5",
        "levels": "5",
        "max_inventory_quote": "2000",
        "size_in": "base",
        "base_qty ETH/USDT:USDT": "0.05",
        "max_position_qty ETH/USDT:USDT": "0.6",
        "base_qty XRP/USDT:USDT": "30",
        "max_position_qty XRP/USDT:USDT": "500",
        "journal": "elsewhere/my.db",
    }
    asked: list[str] = []

    def ask(question: Question) -> str:
        asked.append(question.key)
        return answers[question.key]

    config = loads(run_wizard(ask), "new.toml")
    assert asked == list(answers)
    assert (config.account.name, config.account.wallet_quote) == ("second", Decimal(2500))
    assert [grid.instrument for grid in config.grid] == ["ETH/USDT:USDT", "XRP/USDT:USDT"]
    assert [grid.ladder.base_qty for grid in config.grid] == [Decimal("0.05"), Decimal(30)]
    assert [grid.max_position_qty for grid in config.grid] == [Decimal("0.6"), Decimal(500)]
    assert config.sim.synthetic.prices["XRP/USDT:USDT"] == Decimal("2.5")
    ladder = config.grid[1].ladder
    assert (ladder.step_bps, ladder.levels_long, ladder.levels_short) == (Decimal("20.5"), 5, 5)
    assert ladder.max_inventory_quote == 2000
    assert config.journal.path == "elsewhere/my.db"
    assert advice(config) == ()


def test_quote_sizes() -> None:
    """A rung may be sized in the quote currency instead."""
    config = loads(run_wizard(answering({"size_in": "quote", "base_quote": "250"})), "new.toml")
    assert (config.grid[0].ladder.base_quote, config.grid[0].ladder.base_qty) == (Decimal(250), None)


REFUSED = {
    "name": "Not This",
    "instruments": "BTC/USDT:USDT,BTC/USDT:USDT",
    "wallet_quote": "-1",
    "step_bps": "0,5",
    "levels": "900",
    "max_inventory_quote": "lots",
    "size_in": "coins",
    "base_qty BTC/USDT:USDT": "NaN",
    "max_position_qty BTC/USDT:USDT": "0",
    "journal": "a\0b",
}


@pytest.mark.parametrize("key", REFUSED)
def test_bad_answers_are_asked_again(key: str) -> None:
    """An answer the schema would refuse is refused at once with the reason, and asked again."""
    seen: list[Question] = []

    def ask(question: Question) -> str:
        seen.append(question)
        return REFUSED[key] if question.key == key and not question.problem else ""

    loads(run_wizard(ask), "new.toml")
    assert [question.problem != "" for question in seen if question.key == key] == [False, True]


@pytest.mark.parametrize("instruments", ["BTC", "BTC/USDT:USDT,", "BTC/USDT:USDT,ETH/USDC:USDC"])
def test_bad_instruments_end_the_questions(instruments: str) -> None:
    """Questions are repeated a bounded number of times; then it ends with the reason."""
    with pytest.raises(ConfigError, match="Instruments"):
        run_wizard(answering({"instruments": instruments}))


def test_levels_that_reach_zero_are_refused() -> None:
    """Rungs and step are judged together while they are asked."""
    with pytest.raises(ConfigError, match="price of zero"):
        run_wizard(answering({"step_bps": "500", "levels": "20"}))


INSTRUMENTS = ["BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT", "DOGE/USDT:USDT", "1000PEPE/USDT:USDT"]


@given(
    instruments=st.lists(st.sampled_from(INSTRUMENTS), min_size=1, max_size=5, unique=True),
    wallet=st.integers(1, 10**18).map(lambda n: f"{Decimal(n) / 10**8:f}"),
    step=st.integers(1, 10**6 - 1),
    levels=st.integers(1, 200),
    size_in=st.sampled_from(["base", "quote"]),
    price=st.integers(1, 10**14).map(lambda n: f"{Decimal(n) / 10**8:f}"),
)
def test_any_valid_answers_give_a_valid_file(
    instruments: list[str], wallet: str, step: int, levels: int, size_in: str, price: str
) -> None:
    """From a wallet of one satoshi-like unit to the largest, `check` accepts what `init` wrote."""
    answers = {
        "instruments": ",".join(instruments),
        "wallet_quote": wallet,
        "step_bps": f"{Decimal(min(step, (10**6 - 1) // levels)) / 100:f}",
        "levels": str(levels),
        "size_in": size_in,
        **{f"price {instrument}": price for instrument in instruments},
    }
    config = loads(run_wizard(answering(answers)), "new.toml")
    assert len(config.grid) == len(instruments)


def test_defaults_of_questions_are_valid_answers() -> None:
    """The suggestion shown with a question can be taken."""
    answers: dict[str, str] = {}
    for question in questions(answers):
        assert question.check(question.default) is None
        assert question.prompt
        answers[question.key] = question.default
