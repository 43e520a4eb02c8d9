"""Train claims of a published verification again, on a few of its pictures.

    python benchmarks/repeat.py denoise-128 --pictures data/kodak --number 3

Each claimed schedule, and the reference that leaves the least of its gain, is trained on the first
pictures and seeds whose published trainings ran on the same kind of device. On the same device,
with the same versions and precision, maximum and steps must be the published ones to the last bit.
Elsewhere the arithmetic rounds differently and the input noise is drawn differently: `TOLERANCE_DB`
and `TOLERANCE_STEPS` then bound the difference of each training. The exit code is 1 beyond that.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from published import REPLICATES, HeldOut, Published

from dipstage.errors import InputError
from dipstage.pictures.images import Picture
from dipstage.schedules.stopping import Output
from search.execution.training import Setting, train_replicates
from search.experiment.model import Experiment
from search.experiment.prepare import load_pictures, loaded_task
from search.experiment.reading import load_experiment
from search.store.replicate import ReplicateKey
from search.verification.parts import HELD_OUT

ROOT = Path(__file__).parents[1]
TOLERANCE_DB, TOLERANCE_STEPS = 0.5, 0.4
"""Largest difference of a training elsewhere: of the maximum, and of its steps as a share."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The published maximum of one training."""

    key: ReplicateKey
    psnr_db: float
    steps: int
    device: str


def recorded(folder: Path, name: str, output: Output) -> list[Recorded]:
    """Return the published trainings of a held-out schedule."""
    text = gzip.decompress((folder / REPLICATES).read_bytes()).decode()
    return [
        Recorded(
            ReplicateKey(row["picture"], int(row["seed"])),
            float(row[f"{output}_max_psnr_gt_db"]),
            int(row[f"{output}_steps_to_max"]),
            row["device"],
        )
        for row in csv.DictReader(text.splitlines())
        if row["run"].rpartition("/")[2] == HELD_OUT and row["name"] == name
    ]


def held_out(folder: Path, published: Published, pictures: Path) -> Experiment:
    """Return the experiment of the held-out trainings, with pictures from a folder."""
    experiment = load_experiment(folder / "experiment.yaml")
    plan = published.record.plan
    images = [str(pictures / Path(name).name) for name in plan.images]
    trainer = replace(experiment.trainer, oracle_stop="both")
    return experiment.model_copy(update={"images": images, "seeds": plan.seeds, "trainer": trainer})


def wanted(published: Published) -> list[HeldOut]:
    """Return the claimed schedules, each with the reference that leaves the least of its gain."""
    by_name = {each.name: each for each in published.record.schedules}
    names: dict[str, None] = {}
    for name in published.claims:
        hardest = published.hardest(name)
        names |= dict.fromkeys([name] if hardest is None else [name, hardest.reference])
    return [by_name[name] for name in names]


def main() -> int:
    """Repeat and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("name", help="a folder of experiments/results")
    parser.add_argument("--pictures", type=Path, required=True, help="where the pictures are")
    parser.add_argument("--number", type=int, default=3, help="trainings of each schedule [3]")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    folder = ROOT / "experiments/results" / options.name
    try:
        published = Published.open(folder)
        experiment = held_out(folder, published, options.pictures)
        pictures = load_pictures(experiment)
        differences = [
            each
            for schedule in wanted(published)
            for each in repeat(folder, published, experiment, pictures, schedule, options)
        ]
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    equal = sum(db == 0 and steps == 0 for db, steps in differences)
    within = sum(
        abs(db) <= TOLERANCE_DB and abs(steps) <= TOLERANCE_STEPS for db, steps in differences
    )
    print(f"{equal} of {len(differences)} trainings are equal, {within} within the tolerance")
    return 0 if within == len(differences) else 1


def repeat(
    folder: Path,
    published: Published,
    experiment: Experiment,
    pictures: dict[str, Picture],
    held: HeldOut,
    options: argparse.Namespace,
) -> list[tuple[float, float]]:
    """Train a schedule again; return differences in dB and as a share of the steps."""
    known = recorded(folder, held.name, published.output)
    if not known:
        raise InputError(f"{folder / REPLICATES} has no trainings of {held.name!r}")
    alike = [each for each in known if (each.device == "cpu") == (options.device == "cpu")]
    chosen = (alike + [each for each in known if each not in alike])[: options.number]
    setting = Setting(
        pictures,
        tuple(experiment.seeds),
        loaded_task(experiment),
        experiment.trainer,
        experiment.objective,
        1,
        options.device,
    )
    differences = []
    for each in chosen:
        [outcome] = train_replicates(setting, [str(each.key)], held.schedule)
        now = outcome.summary()[published.output]
        db, steps = now["max_psnr_gt_db"] - each.psnr_db, now["steps_to_max"] / each.steps - 1
        print(
            f"{held.name}, {each.key}: {each.psnr_db:.3f} dB at {each.steps} on {each.device}; "
            f"now {db:+.3f} dB and {steps:+.1%} steps from that",
            flush=True,
        )
        differences.append((db, steps))
    return differences


if __name__ == "__main__":
    sys.exit(main())
