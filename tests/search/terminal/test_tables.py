"""Every table fits a terminal of 80 columns, and breaks no name."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from curved_runs import LONG, curved
from fake_runs import CONTENT, experiment, new_run
from played_verification import gains, searched, verified
from rich.cells import cell_len
from rich.console import Console

from dipstage.schedules.presets import parse_preset
from dipstage.terminal.display import staircase_table
from dipstage.terminal.fitted import BOUND, FittedTable, bound
from dipstage.terminal.numbers import over_replicates
from search import Run
from search.analysis.best_so_far import rank_by_budget
from search.analysis.comparison import labels_of
from search.presentation.words import mean_over
from search.report.page import make
from search.terminal import comparison_tables, tables, verification_tables
from search.verification.result import Verification


def shown(table: FittedTable, width: int = 80) -> str:
    """A table as a terminal of this width shows it."""
    console = Console(width=width, force_terminal=True, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search with a long candidate, thirteen trials and a failure."""
    return curved(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def verification(tmp_path_factory: pytest.TempPathFactory) -> Verification:
    """A verification with a verdict of each kind."""
    better = gains(trial_2=(0.5, -10), trial_3=(-0.5, -10), trial_5=(0.5, 10))
    return verified(searched(tmp_path_factory.mktemp("verified")), better)


def of_searches(run: Run) -> list[FittedTable]:
    """The tables of searches."""
    return [
        tables.front_table(run),
        tables.comparison_table(run, "raw"),
        tables.comparison_table(run, "smoothed"),
        tables.budget_table(run, 20, rank_by_budget(run, 20)),
        tables.trials_table(run),
        comparison_tables.over_trials_table([run, run]),
        comparison_tables.over_hours_table([run, run]),
        comparison_tables.attainment_table([run, run], {run.folder: run.name}),
    ]


def of_verifications(verification: Verification) -> list[FittedTable]:
    """The tables of verifications."""
    return [
        verification_tables.plain_table(verification, "raw"),
        verification_tables.plain_table(verification, "smoothed"),
        verification_tables.budget_table(verification),
        verification_tables.others_table(verification),
    ]


@pytest.mark.long
@pytest.mark.parametrize("width", [80, 100, 200])
def test_every_table_fits_and_breaks_no_name(
    run: Run, verification: Verification, width: int
) -> None:
    names = {trial.name for each in (run, verification.held_out) for trial in each.records()}
    assert LONG in names
    for table in [*of_searches(run), *of_verifications(verification)]:
        text = shown(table, width)
        lines = text.splitlines()
        assert max(map(cell_len, lines)) <= width, text
        for cells in table._rows:
            for cell in cells[:2]:
                name = cell.replace(BOUND, " ").removesuffix(" (knee)")
                for part in bound(name).split(" ") if name in names else ():
                    whole = re.escape(part.replace(BOUND, " "))
                    assert any(re.search(rf"(^|\s){whole}(\W|$)", line) for line in lines)
    front = shown(tables.front_table(run), width)
    assert LONG in front
    assert not re.search(r"trial$", front, re.MULTILINE)


def test_all_columns_are_there_with_enough_width_and_the_others_are_named_without(
    run: Run,
) -> None:
    narrow, wide = shown(tables.trials_table(run)), shown(tables.trials_table(run), 1000)
    assert "not shown: training (s), parameters, or why it failed (--wide shows" in narrow
    assert "trial 4 failed: diverged" in narrow
    assert "not shown" not in wide
    assert "training (s)" in wide
    assert "diverged" in wide


@pytest.mark.long
def test_settings_that_were_sampled_have_a_column(run: Run, tmp_path: Path) -> None:
    assert "settings" not in shown(tables.front_table(run), 200)
    space = {**CONTENT["space"], "stages": {"low": 3, "high": 6}, "width": {"low": 4, "high": 64}}
    searched = curved(tmp_path, space=space)
    text = shown(tables.front_table(searched), 200)
    member = next(trial for trial in searched.front() if not trial.candidate)
    assert "  ramp  settings" in text
    assert re.search(rf"^{member.name} .*  width {member.params['width']} ", text, re.MULTILINE)
    assert f"<td>width {member.params['width']}</td>" in searched._repr_html_()
    assert '<span class="rest">width ' in make(searched).text


@pytest.mark.parametrize(
    ("objective", "label"),
    [({}, "max PSNR_GT (dB) in"), ({"stop": "wmv"}, "PSNR_GT at WMV stop (dB) in")],
)
def test_attainment_is_called_what_was_searched(
    objective: dict[str, str], label: str, tmp_path: Path
) -> None:
    runs = [
        new_run(tmp_path, experiment(name=name, objective=objective, search={"trials": 0}))
        for name in ("a", "b")
    ]
    table = comparison_tables.attainment_table(runs, labels_of(runs))
    assert shown(table, 200).count(f"  {label}") == 3
    assert max(map(cell_len, shown(table).splitlines())) <= 80


def test_a_staircase_fits() -> None:
    text = shown(staircase_table("log10", parse_preset("log10").schedule(2000)))
    assert max(map(cell_len, text.splitlines())) <= 80


@pytest.mark.parametrize("width", [200, 60, 25, 8])
def test_cells_flow_between_words_and_nothing_moves_the_cursor(width: int) -> None:
    made: Callable[..., FittedTable] = partial(FittedTable, left=(0, 1), flow=(1,))
    rows = [["trial 1", f"dominated by trial{BOUND}12, é 日本"], ["a\nb", "\x1b[2J"]]
    lines = shown(made(["schedule", "against the others"], rows, "a title"), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert "\x1b" not in "".join(lines)
    if width >= 25:
        assert any("trial 12" in line for line in lines)
        assert any("a b" in line for line in lines)


def test_an_empty_table_has_its_head() -> None:
    head, rule = shown(FittedTable(["schedule", "dB"], [])).splitlines()
    assert head.split() == ["schedule", "dB"]
    assert set(rule) == {"─"}


def test_titles_count_replicates() -> None:
    assert mean_over(2) == "mean ± standard deviation over 2 replicates"
    assert mean_over(1) == "of one replicate"
    assert over_replicates(1) == "over 1 replicate"
