r"""Measure what racing saves and costs, by replaying searches that were recorded without racing.

Claim: the fraction of replicates that racing saves, and the fraction of the true front (the front
of all trials with all their replicates) that it stops by mistake, at several confidences. Each
table is replayed in its recorded order and in shuffled orders.

    dipsearch launch experiments/racing-table.yaml
    dipsearch launch experiments/racing-table.yaml --name racing-table-random \
      --set search.sampler=random
    python benchmarks/racing.py record racing-table racing-table-random
    python benchmarks/racing.py replay --output benchmarks/racing.json

`record` writes benchmarks/NAME.csv, one row for each replicate; `replay` reads those files.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from machine import machine, write

from search import Run
from search.analysis import pareto
from search.analysis.racing import race
from search.experiment.objectives import Score, mean_score
from search.store.replicate import ReplicateKey

HERE = Path(__file__).parent
REFERENCE = Score(20.17, 400.0)
COLUMNS = ["trial", "candidate", "replicate", "max_psnr_gt_db", "steps_to_max"]


@dataclass(frozen=True)
class Table:
    """The scores of every trial by replicate, and which trials are candidates."""

    keys: list[str]
    scores: list[dict[str, Score]]
    candidates: list[bool]


@dataclass(frozen=True)
class Replay:
    """Fractions of all replicates, of the true front, of all trials and of the hypervolume, and the
    bias of the scores that are reported for raced trials.
    """

    saved: float
    front_lost: float
    raced: float
    hypervolume_lost: float
    bias_psnr_db: float
    bias_steps: float


def record(name: str, runs_dir: Path) -> None:
    """Write the replicates of a finished run to a CSV file beside this script."""
    run = Run.open(name, runs_dir)
    with (HERE / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for trial in run.records():
            if trial.state != "complete":
                raise SystemExit(f"{trial.name} is {trial.state}: the table needs all replicates")
            for key, replicate in trial.replicates.items():
                score = replicate.score(run.objective)
                cells = [f"{score.max_psnr_gt_db:.4f}", f"{score.steps_to_max:.0f}"]
                writer.writerow([trial.number, int(trial.candidate is not None), key, *cells])


def load(path: Path) -> Table:
    """Read a table, with replicates in the order in which a search trains them."""
    scores: dict[int, dict[str, Score]] = defaultdict(dict)
    is_candidate: dict[int, bool] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            number = int(row["trial"])
            is_candidate[number] = row["candidate"] == "1"
            score = Score(float(row["max_psnr_gt_db"]), float(row["steps_to_max"]))
            scores[number][row["replicate"]] = score
    keys = list(scores[min(scores)])
    parsed = [ReplicateKey.parse(key) for key in keys]
    pictures = list(dict.fromkeys(key.picture for key in parsed))
    seeds = list(dict.fromkeys(key.seed for key in parsed))
    order = [
        str(ReplicateKey(picture, seeds[(i + turn) % len(seeds)]))
        for turn in range(len(seeds))
        for i, picture in enumerate(pictures)
    ]
    numbers = sorted(scores)
    return Table(order, [scores[n] for n in numbers], [is_candidate[n] for n in numbers])


def replay(table: Table, confidence: float, min_replicates: int, shuffle: int | None) -> Replay:
    """Replay a search over the trials of a table, candidates first, one trial at a time."""
    sampled = [i for i, candidate in enumerate(table.candidates) if not candidate]
    if shuffle is not None:
        np.random.default_rng(shuffle).shuffle(sampled)
    order = [i for i, candidate in enumerate(table.candidates) if candidate] + sampled
    complete: list[int] = []
    errors: list[tuple[float, float]] = []
    used = 0
    for i in order:
        trained = len(table.keys)
        for n in range(min_replicates, len(table.keys)):
            if table.candidates[i]:
                break
            so_far = {key: table.scores[i][key] for key in table.keys[:n]}
            others = [table.scores[other] for other in complete]
            raced = race(so_far, others, table.keys, confidence, min_replicates)
            if raced is not None:
                trained = n
                final = mean_score(table.scores[i].values())
                psnr, steps = (a - b for a, b in zip(raced.estimate, final, strict=True))
                errors.append((psnr, steps))
                break
        used += trained
        if trained == len(table.keys):
            complete.append(i)
    finals = [mean_score(scores.values()) for scores in table.scores]
    front = pareto.front(finals)
    whole = pareto.hypervolume(finals, REFERENCE)
    left = pareto.hypervolume([finals[i] for i in complete], REFERENCE)
    return Replay(
        saved=1 - used / (len(order) * len(table.keys)),
        front_lost=len(set(front) - set(complete)) / len(front),
        raced=1 - len(complete) / len(order),
        hypervolume_lost=1 - left / whole,
        bias_psnr_db=statistics.fmean(psnr for psnr, _ in errors) if errors else 0.0,
        bias_steps=statistics.fmean(steps for _, steps in errors) if errors else 0.0,
    )


def main() -> int:
    """Record or replay tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record")
    recorder.add_argument("names", nargs="+")
    recorder.add_argument("--runs-dir", type=Path, default=Path("runs"))
    replayer = commands.add_parser("replay")
    replayer.add_argument("--tables", nargs="+", type=Path, default=sorted(HERE.glob("*.csv")))
    replayer.add_argument("--shuffles", type=int, default=40)
    replayer.add_argument("--confidences", nargs="+", type=float, default=[0.8, 0.85, 0.9, 0.95])
    replayer.add_argument("--min-replicates", nargs="+", type=int, default=[2])
    replayer.add_argument("--workers", type=int, default=1)
    replayer.add_argument("--output", type=Path)
    given = parser.parse_args()
    if given.command == "record":
        for name in given.names:
            record(name, given.runs_dir)
        return 0
    rows = []
    measured_on = machine()
    print("mean and standard deviation over shuffled orders; first the recorded order")
    for path in given.tables:
        table = load(path)
        finals = [mean_score(scores.values()) for scores in table.scores]
        print(
            f"\n{path.stem}: {len(table.scores)} trials of {len(table.keys)} replicates, "
            f"front of {len(pareto.front(finals))}"
        )
        print(
            "confidence  least  order     saved           front lost      raced          "
            "lost area        bias"
        )
        for least in given.min_replicates:
            for confidence in given.confidences:
                first = replay(table, confidence, least, None)
                with ProcessPoolExecutor(given.workers) as pool:
                    one = partial(replay, table, confidence, least)
                    shuffled = list(pool.map(one, range(given.shuffles)))
                rows.append(
                    {
                        "table": path.stem,
                        "confidence": confidence,
                        "min_replicates": least,
                        "recorded": asdict(first),
                        "shuffled": [asdict(each) for each in shuffled],
                    }
                )
                show(confidence, least, "recorded", [first])
                show(confidence, least, "shuffled", shuffled)
    if given.output:
        write({**measured_on, "rows": rows}, given.output)
    return 0


def show(confidence: float, least: int, order: str, replays: list[Replay]) -> None:
    """Print one line of results."""

    def words(name: str, factor: float, unit: str, digits: int = 1) -> str:
        values = [factor * getattr(each, name) for each in replays]
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        return f"{statistics.fmean(values):.{digits}f}{spread} {unit}"

    print(
        f"{confidence:<10.2f}  {least:<5}  {order:<8}  {words('saved', 100, '%'):<14}  "
        f"{words('front_lost', 100, '%'):<14}  {words('raced', 100, '%'):<13}  "
        f"{words('hypervolume_lost', 100, '%', 2):<15}  {words('bias_psnr_db', 1, 'dB', 3)}, "
        f"{words('bias_steps', 1, 'steps')}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
