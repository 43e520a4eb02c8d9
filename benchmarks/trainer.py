"""Measure the trainer against the official DIP loop, and check that a seed determines every bit.

Claim: the iterations per second of `dipstage.fit`, scoring and set-up included, over those of the
official loop, alternating in one process after a warm-up: median, minimum and maximum of n blocks.
`PYTHONPATH=. python benchmarks/trainer.py` runs from a checkout, needs only torch, numpy and
scikit-image, prints a table and writes JSON. A GPU is measured by `gpu.py`. `--peer PATH`
takes the network from a checkout of github DmitryUlyanov/deep-image-prior.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import machine, write
from peer import Peer

from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.settings import TrainerSettings
from dipstage.tasks.denoise import observe
from dipstage.training.outcome import Outcome
from dipstage.training.trainer import fit

CPU_SCALES = [(64, 32, 4, 1, 100), (128, 64, 5, 1, 30), (256, 128, 5, 2, 8)]
"""Side, width, scales, threads, and iterations of a block."""
PATHS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    "auto": {},
}


class Scale:
    """A picture at one scale, with the peer and dipstage to train on it."""

    def __init__(self, scale: tuple[int, int, int, int, int], peer: Path | None) -> None:
        self.size, self.width, self.scales, self.threads, self.iterations = scale
        self._settings = TrainerSettings(width=self.width, scales=self.scales)
        picture = load_picture(
            "skimage:astronaut", size=self.size, multiple=self._settings.multiple
        )
        self._truth, self._streams = picture.tensor(), Streams(picture.digest, 0)
        self._observation = observe(self._truth, 25, self._streams)
        torch.set_num_threads(self.threads)
        self.peer = Peer(self._observation, self._truth, self._settings, "cpu", peer)

    def train(self, iterations: int, **settings: Any) -> Outcome:
        """Train plain DIP once."""
        torch.set_num_threads(self.threads)
        return fit(
            self._observation,
            self._truth,
            parse_preset("baseline").schedule(iterations),
            replace(self._settings, **settings),
            self._streams,
        )


def profile(scale: Scale, settings: dict[str, Any]) -> dict[str, float]:
    """Print and return the fraction of a path's time that each operation takes by itself."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as profiler:
        scale.train(scale.iterations, **settings)
    events = sorted(profiler.key_averages(), key=lambda e: -e.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    for event in events[:8]:
        share = event.self_cpu_time_total / total
        each = event.self_cpu_time_total / event.count
        calls = event.count / scale.iterations
        print(f"  {share:5.1%} {event.key}: {calls:.0f} x {each:.0f} us an iteration")
    return {event.key: event.self_cpu_time_total / total for event in events[:20]}


def measure(scale: Scale, paths: dict[str, dict[str, Any]], blocks: int) -> dict[str, Any]:
    """Measure the peer and each path in alternation; test whether two runs give the same bytes."""
    same, first_s = {}, {}
    for name, settings in paths.items():
        first, again = (scale.train(12, **settings) for _ in range(2))
        same[name] = first.trace.csv() == again.trace.csv()
        first_s[name] = first.wall_s - again.wall_s
    scale.peer.train(3)
    speeds: dict[str, list[float]] = {name: [] for name in ("peer", *paths)}
    for _ in range(blocks):
        speeds["peer"].append(scale.peer.train(scale.iterations))
        for name, settings in paths.items():
            outcome = scale.train(scale.iterations, **settings)
            speeds[name].append(outcome.iterations_per_s)
    return {
        "size": scale.size, "width": scale.width, "scales": scale.scales,
        "threads": scale.threads, "iterations": scale.iterations,
        "iterations_per_s": speeds, "same_bytes": same, "first_run_s": first_s,
    }  # fmt: skip


def report(row: dict[str, Any]) -> None:
    """Print the table of a scale."""
    speeds = row["iterations_per_s"]
    print(f"{row['size']}/{row['width']}/{row['scales']}, {row['threads']} threads")
    for name, measured in speeds.items():
        ratios = [ours / peers for ours, peers in zip(measured, speeds["peer"], strict=True)]
        print(
            f"  {name:16} {statistics.median(measured):8.2f} iterations/s, "
            f"{statistics.median(ratios):.2f} x the peer's "
            f"({min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)})",
            flush=True,
        )
    for name, equal in row["same_bytes"].items():
        print(
            f"  {name}: the first run took {row['first_run_s'][name]:.1f} s more; "
            f"two runs of one seed give {'the same bytes' if equal else 'OTHER BYTES'}"
        )


def main() -> int:
    """Print and write the measurements; return 1 if two equal runs differ."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--blocks", type=int, default=5)
    arguments.add_argument("--peer", type=Path, help="checkout of the official repository")
    arguments.add_argument("--scales", nargs="+", metavar="SIDE/WIDTH/SCALES", help="these alone")
    arguments.add_argument("--profile", action="store_true", help="say where the time goes, too")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/trainer-cpu.json"))
    given = arguments.parse_args()
    measured_on = machine(
        peer="its own network" if given.peer else "the product's network",
    )
    rows = []
    for sizes in CPU_SCALES:
        if given.scales and "/".join(map(str, sizes[:3])) not in given.scales:
            continue
        scale = Scale(sizes, given.peer)
        rows.append(measure(scale, PATHS, given.blocks))
        report(rows[-1])
        if given.profile:
            print("  where auto spends its time:")
            rows[-1]["profile"] = profile(scale, PATHS["auto"])
    write({**measured_on, "rows": rows}, given.output)
    return 0 if all(all(row["same_bytes"].values()) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
