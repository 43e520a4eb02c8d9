"""What no fault may change: how many trials and replicates there are, and what they hold."""

from __future__ import annotations

from pathlib import Path

from dipstage.errors import InputError
from search import Run
from search.store.paths import curve_path


def opened(name: str, runs_dir: Path | str, storage: str | None = None) -> Run | None:
    """A run, if it is there yet."""
    try:
        return Run.open(name, runs_dir, storage)
    except InputError:
        return None


def finished(run: Run | None) -> set[int]:
    """Numbers of the complete trials."""
    return {t.number for t in run.records() if t.state == "complete"} if run else set()


def written(run: Run | None) -> dict[str, tuple[float, bytes]]:
    """Time and content of the curves of every replicate that the study knows."""
    if run is None:
        return {}
    paths = [
        curve_path(run.folder, trial.number, key)
        for trial in run.records()
        for key in trial.replicates
    ]
    return {path.name: (path.stat().st_mtime, path.read_bytes()) for path in paths}


def assert_exact(run: Run) -> None:
    """Every trial of an unraced search ended once and well, and nothing is left over."""
    trials, experiment = run.records(), run.experiment
    assert [t.candidate for t in trials if t.candidate] == experiment.candidates
    wanted = run.trials_wanted + len(experiment.candidates)
    assert [trial.state for trial in trials] == ["complete"] * wanted
    # Trials that a fault cut off before they had a schedule are kept as failed, never as running.
    assert {trial.state.name for trial in run.study.get_trials()} <= {"COMPLETE", "FAIL"}
    replicates = len(experiment.images) * len(experiment.seeds)
    for trial in trials:
        assert len(trial.replicates) == replicates
        for key, replicate in trial.replicates.items():
            psnr = run.curves(trial, key)["psnr_gt_raw_db"]
            assert float(psnr.max()) == replicate.raw.max_psnr_gt_db
    assert {path.name for path in (run.folder / "curves").iterdir()} == set(written(run))
    assert not [path.name for path in run.folder.iterdir() if path.name.endswith(".tmp")]
    assert run.driver() is None
