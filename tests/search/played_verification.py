"""Verifications that are played through: outcomes and curves that somebody made up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from fake_runs import experiment, new_run, outcome, play

from dipstage.documents.plain_yaml import write_whole, yaml_text
from dipstage.documents.records import to_plain
from search import Run
from search.execution.ledger import Ledger
from search.experiment.candidate import Candidate
from search.experiment.model import Experiment
from search.experiment.prepare import load_pictures
from search.store.paths import curve_path, verification_path
from search.store.replicate import ReplicateKey
from search.store.storage import open_storage
from search.store.study import create_study
from search.verification.drive import part, tuned_trial
from search.verification.plan import (
    HELD_OUT,
    TUNING,
    Plan,
    held_out_experiment,
    tuning_experiment,
)
from search.verification.result import Verification
from search.verification.schedules import held_out_candidates, plain_candidates

IMAGES = ["skimage:coins", "skimage:moon", "skimage:grass", "skimage:page"]
Score = Callable[[str, str], tuple[float, int] | str]
"""Of a schedule's name and a replicate's key: max PSNR_GT and steps, or why it diverged."""


def searched(runs_dir: Path, **changes: object) -> Run:
    """Two candidates and four sampled trials, of which 2, 3 and 5 are on the front."""
    scores: dict[int, tuple[float, int] | str] = {
        0: (25.0, 20), 1: (25.5, 19), 2: (26.0, 12), 3: (25.0, 10), 4: "diverged", 5: (27.0, 25),
    }  # fmt: skip
    return play(new_run(runs_dir, experiment(**changes)), scores.__getitem__)


def verified(run: Run, score: Score, **changes: object) -> Verification:
    """As if it had been trained on four pictures and four seeds; curves peak where scores say."""
    values = {
        "images": IMAGES, "seeds": [2, 3, 4, 5], "top": 3, "trials": [3, 2, 5],
        "baseline_iterations": 45, "learning_rates": [0.01, 0.005, 0.003], **changes,
    }  # fmt: skip
    plan = Plan(**values)  # type: ignore[arg-type]
    write_whole(verification_path(run.folder), yaml_text(to_plain(plan, {})))
    plain = plain_candidates(plan)
    tuned = compared(run, TUNING, tuning_experiment(run), plain, lambda n, k: (25.2, 22))
    candidates = held_out_candidates(run, plan, tuned_trial(tuned))
    compared(run, HELD_OUT, held_out_experiment(run, plan), candidates, score)
    found = Verification.open(run)
    assert found is not None
    return found


def compared(
    run: Run, name: str, held: Experiment, candidates: list[Candidate], score: Score
) -> Run:
    """One of the two comparisons, played."""
    folder = run.folder / name
    (folder / "curves").mkdir(parents=True)
    named = held.model_copy(update={"candidates": [c.name for c in candidates]})
    (folder / "experiment.yaml").write_text(named.yaml())
    create_study(
        open_storage(folder, None, create=True), named, {}, candidates, f"{run.name}/{name}"
    )
    made = part(run, name)
    assert made is not None
    keys = [
        str(ReplicateKey(label, seed)) for seed in named.seeds for label in load_pictures(named)
    ]
    ledger = Ledger(made.study, named, keys)
    while (work := ledger.next()) is not None:
        schedule = made.records()[work.number].name
        failure = None
        for key in keys:
            result = score(schedule, key)
            if isinstance(result, str):
                failure = result
                break
            psnr, steps = result
            curve = np.minimum(np.linspace(0, psnr * 45 / max(steps, 1), 45), psnr)
            curve[steps + 1 :] = psnr - 1
            curve[steps] = psnr
            np.savez_compressed(
                curve_path(folder, work.number, key),
                psnr_gt_raw_db=curve.astype(np.float32),
                psnr_gt_smoothed_db=curve.astype(np.float32),
            )
            ledger.record(work.number, key, outcome(psnr, steps))
        ledger.finish(work.number, failure)
    return Run.of(made)


def jitter(key: str) -> float:
    """A small difference from replicate to replicate."""
    return (sum(map(ord, key)) * 7 % 11 - 5) / 500


def gains(**found: tuple[float, int]) -> Score:
    """Schedules above plain DIP's 25 dB at 30 iterations by these; underscores are spaces."""

    def score(name: str, key: str) -> tuple[float, int]:
        psnr, steps = found.get(name.replace(" ", "_"), (0.0, 0))
        return 25.0 + psnr + jitter(key + name), 30 + steps

    return score
