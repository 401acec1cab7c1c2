"""Figures as a sleeper reads them in an alert: every unit that the journal's names carry."""

import pytest

from hedgegrid.ops.figure_words import written


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("equity_e8", "996915801070", "equity 9,969.16"),
        ("loss_e8", "-1500000000", "loss -15.00"),
        ("drawdown_ppm", "5594", "drawdown 0.56 %"),
        ("volatility_ppm", "1164559", "volatility 116.46 %"),
        ("rate_e8", "-10000", "rate -0.010000 %"),
        ("limit_8h_e8", "5000", "limit 8h 0.005000 %"),
        ("stood_ns", "6190000000000", "stood 1 h 43 min"),
        ("next_ns", "1738540800000000000", "next 2025-02-03 00:00:00 UTC"),
        ("age_ms", "7000", "age 7,000 ms"),
        ("orders", "12", "orders 12"),
        ("lifted_by", "run --resume", "lifted by run --resume"),
        ("flatten", "LONG,SHORT", "flatten LONG,SHORT"),
    ],
)
def test_a_figure_reads_in_a_persons_unit(name: str, value: str, words: str) -> None:
    """Nobody divides by a million at three in the morning."""
    assert written({name: value}) == words


def test_figures_stand_in_their_order_up_to_so_many() -> None:
    """The first say the most; a line on a telephone has an end."""
    figures = {"drawdown_ppm": "5594", "limit_ppm": "5000", "peak_e8": "1002500000000"}
    assert written(figures) == "drawdown 0.56 %, limit 0.50 %, peak 10,025.00"
    assert written(figures, 1) == "drawdown 0.56 %"
    assert written({}) == ""
