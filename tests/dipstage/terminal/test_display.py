"""The bar of a restoration."""

import re
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from dipstage.schedules.stopping import Curve, FullBudget, StoppingRule, VarianceMinimum
from dipstage.terminal.display import RestorationBar, variance_in_words
from dipstage.training.measurements import Progress


def falling(n: int) -> Curve:
    return np.linspace(2, 1, n).astype(np.float32)


@pytest.mark.parametrize(
    ("curve", "rule", "words"),
    [
        (falling(50), VarianceMinimum(), "fitting the picture"),
        (falling(200), VarianceMinimum(), "variance falling"),
        (np.append(falling(200), np.full(40, 1.01, np.float32)), VarianceMinimum(),
         "variance flat, stops in 110 without a new minimum"),
        (np.append(falling(200), np.full(40, 1.5, np.float32)), VarianceMinimum(),
         "variance rising, stops in 110 without a new minimum"),
        (np.append(falling(200), np.full(40, 1.5, np.float32)), FullBudget(), "variance rising"),
    ],
)  # fmt: skip
def test_the_bar_says_what_the_variance_does(curve: Curve, rule: StoppingRule, words: str) -> None:
    assert variance_in_words(curve, rule) == words


def test_the_bar_has_a_line_for_each_run_until_it_has_ended() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=100)

    def at(iteration: int) -> Progress:
        return Progress(iteration, 20, 0, 1, {}, {}, {}, np.zeros(0, np.float32))

    def shown() -> list[str]:
        page = Console(file=StringIO(), width=100)
        with page.capture() as captured:
            page.print(bar._bar.get_renderable())
        return re.findall(r"run \d/\d|\d+/20", captured.get())

    with RestorationBar(console, 20, 3, FullBudget()) as bar:
        bar.update(0, at(9))
        bar.update(1, at(14))
        assert shown() == ["run 1/3", "10/20", "run 2/3", "15/20"]
        bar.update(1, at(19))
        bar.update(2, at(9))
        assert shown() == ["run 1/3", "10/20", "run 3/3", "10/20"]
