"""Compare a whole search with the script that a user would otherwise write (`script.py`).

Claims: the trials per hour of `dipsearch launch` over those of the script, with the same space,
pictures, number of sampled trials and sampler seed, on two cores; and the hypervolume of each
front, retrained by dipsearch on seeds that neither search used. Also the overhead of trials: the
time of workers that is not training. `PYTHONPATH=. python benchmarks/whole_search.py --peer
CHECKOUT` takes about 15 minutes; without a checkout the script trains the network of dipstage.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from machine import machine, write
from script import search_by_script

from dipstage.schedules.schedule import Schedule
from dipstage.schedules.schedule_file import ScheduleFile, save_schedule
from search import Run, launch
from search.analysis import pareto
from search.experiment.model import Experiment
from search.experiment.objectives import Score
from search.experiment.prepare import load_pictures
from search.experiment.reading import load_experiment

HELD_OUT_SEEDS = "[101, 102, 103]"


def overhead(run: Run) -> dict[str, float]:
    """Return the time of the workers outside training, as a fraction of training.

    Trials are assigned to as many slots as ran at a time. The time from the end of one trial to the
    end of the next in its slot is counted, without training. The first trial of each slot is left
    out, because Ray starts its process then.
    """
    trials = sorted((t for t in run.records() if t.ended and t.started), key=lambda t: t.started)  # type: ignore[arg-type, return-value]
    slots: list[float] = []
    spent = trained = 0.0
    for trial in trials:
        assert trial.started is not None
        assert trial.ended is not None
        free = [i for i, end in enumerate(slots) if end <= trial.started.timestamp() + 0.05]
        if not free:
            slots.append(trial.ended.timestamp())
            continue
        i = max(free, key=slots.__getitem__)
        spent += trial.ended.timestamp() - slots[i]
        trained += trial.wall_s
        slots[i] = trial.ended.timestamp()
    return {"trials": len(trials), "trained_s": trained, "spent_s": spent,
            "overhead": spent / trained - 1}  # fmt: skip


def retrained(
    fronts: dict[str, list[Schedule]], experiment: Experiment, folder: Path
) -> dict[str, list[Score]]:
    """Retrain the schedules of each front on unused seeds, in one comparison; return their
    means.
    """
    names = {}
    for who, schedules in fronts.items():
        for i, schedule in enumerate(schedules):
            path = folder / f"{who}-{i}.yaml"
            save_schedule(path, ScheduleFile(schedule))
            names[path.stem] = who
    overrides = (
        "name=retrained", f"seeds={HELD_OUT_SEEDS}", "search.trials=0", "space=null",
        f"candidates=[{', '.join(str(folder / f'{name}.yaml') for name in names)}]",
    )  # fmt: skip
    comparison = load_experiment(Path("experiments/quickstart.yaml"), overrides)
    comparison = comparison.model_copy(update={"trainer": experiment.trainer})
    found: dict[str, list[Score]] = {who: [] for who in fronts}
    for trial in launch(comparison, runs_dir=folder).records():
        assert trial.candidate is not None
        found[names[Path(trial.candidate).stem]].append(trial.score)
    return found


def main() -> None:
    """Search both ways, retrain the fronts, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--peer", type=Path, help="checkout of the official repository")
    arguments.add_argument("--trials", type=int, default=24)
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/whole-search.json"))
    given = arguments.parse_args()
    measured_on = machine(peer="its own network" if given.peer else "the product's network")
    experiment = load_experiment(
        Path("experiments/quickstart.yaml"), (f"search.trials={given.trials}", "candidates=[]")
    )
    assert experiment.space is not None
    pictures = list(load_pictures(experiment).values())
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        run = launch(experiment, runs_dir=scratch)
        product_s = time.perf_counter() - began
        print(f"product: {given.trials} trials in {product_s:.0f} s", flush=True)
        began = time.perf_counter()
        scripted = search_by_script(
            pictures, experiment.space, experiment.trainer, given.trials, 0, given.peer, scratch
        )
        script_s = time.perf_counter() - began
        print(f"script: {len(scripted)} trials in {script_s:.0f} s", flush=True)
        scores = [Score(psnr, steps) for _, psnr, steps in scripted]
        fronts = {
            "product": [t.schedule for t in run.front() if t.schedule is not None],
            "script": [scripted[i][0] for i in pareto.front(scores)],
        }
        again = retrained(fronts, experiment, Path(scratch))
    best = max(score.max_psnr_gt_db for found in again.values() for score in found)
    # Reference point: 1 dB below the best, and the budget; every useful schedule dominates it.
    reference = Score(best - 1, experiment.trainer.iterations)
    volumes = {who: pareto.hypervolume(found, reference) for who, found in again.items()}
    row: dict[str, Any] = {
        "trials": given.trials, "product_s": product_s, "script_s": script_s,
        "ratio": script_s / product_s, "fronts": {k: len(v) for k, v in fronts.items()},
        "best_db": {k: max(s.max_psnr_gt_db for s in v) for k, v in again.items()},
        "mean_steps": {k: fmean(s.steps_to_max for s in v) for k, v in again.items()},
        "hypervolume": volumes, "reference": list(reference),
        "raced": sum(t.state == "raced" for t in run.records()), "overhead": overhead(run),
    }  # fmt: skip
    for key, value in row.items():
        print(f"{key}: {value}")
    write({**measured_on, **row, "retrained": {k: [list(s) for s in v] for k, v in again.items()}},
          given.output)  # fmt: skip


if __name__ == "__main__":
    main()
