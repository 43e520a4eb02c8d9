"""Compare a whole search with the script that a user would otherwise write (`script.py`).

Claims: the trials per hour of `dipsearch launch` over those of the script, with the same space,
pictures, number of sampled trials and sampler seed, on two cores; and the hypervolume of each
front, retrained by dipsearch on seeds that neither search used. Also the overhead of trials: the
time of workers that is not training. Each of three sampler seeds repeats all of it.
`PYTHONPATH=. python benchmarks/whole_search.py --peer CHECKOUT` takes about half an hour; without a
checkout the script trains the network of dipstage.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
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


def searched(
    experiment: Experiment, trials: int, seed: int, peer: Path | None, scratch: Path
) -> dict[str, Any]:
    """Search both ways with one sampler seed, in turns first, and retrain both fronts."""
    space = experiment.space
    assert space is not None
    pictures = list(load_pictures(experiment).values())
    seconds: dict[str, float] = {}
    fronts: dict[str, list[Schedule]] = {}
    row: dict[str, Any] = {"seed": seed}

    def product() -> None:
        run = launch(experiment, runs_dir=scratch)
        fronts["product"] = [t.schedule for t in run.front() if t.schedule is not None]
        row["raced"] = sum(t.state == "raced" for t in run.records())
        row["overhead"] = overhead(run)

    def script() -> None:
        found = search_by_script(
            pictures, space, experiment.trainer, trials, seed, peer, str(scratch)
        )
        scores = [Score(psnr, steps) for _, psnr, steps in found]
        fronts["script"] = [found[i][0] for i in pareto.front(scores)]

    for way in (product, script) if seed % 2 == 0 else (script, product):
        began = time.perf_counter()
        way()
        seconds[way.__name__] = time.perf_counter() - began
        print(f"seed {seed}, {way.__name__}: {seconds[way.__name__]:.0f} s", flush=True)
    again = retrained(fronts, experiment, scratch)
    return {
        **row,
        "seconds": seconds,
        "retrained": {k: [list(s) for s in v] for k, v in again.items()},
    }


def volumes(repeats: list[dict[str, Any]], iterations: int) -> tuple[Score, list[dict[str, float]]]:
    """Return the reference point and the hypervolume of each repeat's fronts.

    The reference point is 1 dB below the best PSNR of all repeats, at the end of the budget; every
    useful schedule dominates it.
    """
    fronts = [{who: [Score(*s) for s in v] for who, v in r["retrained"].items()} for r in repeats]
    best = max(s.max_psnr_gt_db for both in fronts for front in both.values() for s in front)
    reference = Score(best - 1, iterations)
    return reference, [
        {who: pareto.hypervolume(front, reference) for who, front in both.items()}
        for both in fronts
    ]


def main() -> None:
    """Search both ways with each seed, and write the results after each; go on where it ended."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--peer", type=Path, help="checkout of the official repository")
    arguments.add_argument("--trials", type=int, default=10)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/whole-search.json"))
    given = arguments.parse_args()
    content = machine(peer="its own network" if given.peer else "the product's network")
    content["trials"] = given.trials
    repeats: list[dict[str, Any]] = []
    if given.output.exists():
        before = json.loads(given.output.read_text())
        same = all(before.get(key) == content[key] for key in content if key != "load")
        repeats = before["repeats"] if same else []
    for seed in given.seeds:
        if seed in [repeat["seed"] for repeat in repeats]:
            continue
        overrides = (f"search.trials={given.trials}", f"search.seed={seed}", "candidates=[]")
        experiment = load_experiment(Path("experiments/quickstart.yaml"), overrides)
        with tempfile.TemporaryDirectory() as scratch:
            repeats.append(searched(experiment, given.trials, seed, given.peer, Path(scratch)))
        reference, found = volumes(repeats, experiment.trainer.iterations)
        for repeat, volume in zip(repeats, found, strict=True):
            repeat["hypervolume"] = volume
        write({**content, "reference": list(reference), "repeats": repeats}, given.output)


if __name__ == "__main__":
    main()
