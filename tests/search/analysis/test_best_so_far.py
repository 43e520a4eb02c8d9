"""What a budget buys: closed forms, and a run's own curves."""

from pathlib import Path

import numpy as np
import pytest
from fake_runs import KEYS, experiment, new_run, play
from verified_runs import copy

from dipstage.errors import InputError
from search import Run
from search.analysis.best_so_far import best_by, best_so_far, envelope, rank_by_budget
from search.store.paths import curve_path


def curve(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A PSNR_GT curve."""
    return np.asarray(values, np.float32)


def test_best_so_far_holds_after_the_end() -> None:
    rising_and_falling = curve(1, 3, 5, 4)
    assert [best_by(rising_and_falling, n) for n in (1, 2, 3, 4, 9)] == [1, 3, 5, 5, 5]
    assert best_so_far([rising_and_falling], 6).tolist() == [1, 3, 5, 5, 5, 5]


def test_best_so_far_is_a_mean_over_replicates_of_any_length() -> None:
    assert best_so_far([curve(1, 3, 2), curve(5)], 4).tolist() == [3, 4, 4, 4]


def test_best_so_far_never_falls_and_ends_at_the_mean_maximum() -> None:
    curves = [np.random.default_rng(s).normal(20, 3, 50).astype(np.float32) for s in range(4)]
    found = best_so_far(curves, 50)
    assert (np.diff(found) >= 0).all()
    assert found[-1] == pytest.approx(np.mean([c.max() for c in curves]))


def test_the_envelope_is_the_best_trial_at_each_iteration() -> None:
    early, late = [curve(4, 5, 5)], [curve(1, 2, 9)]
    assert envelope([early, late], 3).tolist() == [4, 5, 9]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Trial n reaches n + 1 dB a third of the way, and 20 - n dB at the end."""
    run = play(
        new_run(tmp_path_factory.mktemp("drawn"), experiment()), lambda number: (20.0 - number, 25)
    )
    for trial in run.records():
        values = np.zeros(30, np.float32)
        values[10:] = trial.number + 1
        values[25:] = 20 - trial.number
        for key in KEYS:
            path = curve_path(run.folder, trial.number, key)
            np.savez_compressed(path, psnr_gt_raw_db=values, psnr_gt_smoothed_db=values)
    return run


@pytest.mark.parametrize(("budget", "best"), [(11, 5), (25, 5), (26, 0), (30, 0), (5, 0)])
def test_schedules_are_ranked_by_what_the_budget_buys(drawn: Run, budget: int, best: int) -> None:
    ranked = rank_by_budget(drawn, budget)
    assert ranked[0][0].number == best
    values = [measure.mean for _, measure in ranked]
    assert values == sorted(values, reverse=True)
    assert ranked[0][1].n == 4


@pytest.mark.parametrize("budget", [0, 31])
def test_a_budget_that_was_not_trained_is_refused(drawn: Run, budget: int) -> None:
    with pytest.raises(InputError, match=f"from 1 to the search's 30, got {budget}"):
        rank_by_budget(drawn, budget)


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut"])
def test_curves_that_cannot_be_read_are_named(
    drawn: Run, tmp_path: Path, content: bytes | None
) -> None:
    run = copy(drawn, tmp_path)
    path = curve_path(run.folder, 3, KEYS[0])
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path.name} cannot be read"):
        rank_by_budget(run, 10)
