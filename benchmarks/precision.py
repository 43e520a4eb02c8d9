"""Test whether faster arithmetic gives the same results, by paired runs in fp32 and another format.

Claim: over n pairs with the same picture, seed and schedule, the mean difference of max PSNR_GT
(raw and smoothed, in dB) and of the steps to it (relative to the mean of fp32), with Student's 95 %
interval. `PYTHONPATH=. python benchmarks/precision.py --workers 2` takes 40 minutes on two cores.
If it is interrupted, the same call goes on: pairs are kept in OUTPUT.partial until all have ended.
`--extend` adds pairs to an OUTPUT of the same machine.
`--path` selects the format; the default is what `trainer.precision: auto` selects on a CPU that
multiplies bf16 in hardware. On other CPUs this arithmetic is emulated, as PyTorch's own
convolutions of bf16 are slow there (see `convolved`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import count, islice, product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from cells import interval
from machine import machine, write
from torch import Tensor, nn

from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import OUTPUTS
from dipstage.tasks.denoise import observe
from dipstage.training import arithmetic
from dipstage.training.trainer import fit

PICTURES = sorted(Path("data/bsd").glob("*.png"))
SCHEDULES = ("baseline", "log10")
Pair: TypeAlias = dict[str, Any]
Job: TypeAlias = tuple[str, str, int]


def convolved(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """Return what a CPU that multiplies bf16 in hardware computes for a convolution in bf16.

    Such a CPU adds the products of two bf16 numbers in fp32 and rounds each sum to bf16 once. So
    does a convolution in fp32 whose operands are bf16 numbers and whose results are rounded.
    """
    assert layer.bias is not None
    y: Tensor = layer._conv_forward(x.float(), layer.weight.float(), layer.bias.float())
    return y.to(torch.bfloat16)


def emulate_bf16() -> None:
    """Let `auto` choose and compute bf16 as on a CPU that multiplies it in hardware."""
    own = nn.Conv2d.forward

    def forward(layer: nn.Conv2d, x: Tensor) -> Tensor:
        return convolved(layer, x) if x.dtype is torch.bfloat16 else own(layer, x)

    nn.Conv2d.forward = forward  # type: ignore[method-assign, assignment]
    arithmetic._multiplies_bf16 = lambda: True


def prepare(is_emulated: bool) -> None:
    """Prepare a worker process."""
    torch.set_num_threads(1)
    if is_emulated:
        emulate_bf16()


def train_pair(job: Job, size: int, path: str, settings: TrainerSettings) -> Pair:
    """Train a preset on a picture at sigma 25 twice; return both summaries."""
    picture, schedule, seed = job
    loaded = load_picture(picture, size=size, multiple=settings.multiple)
    truth, streams = loaded.tensor(), Streams(loaded.digest, seed)
    stages = parse_preset(schedule).schedule(settings.iterations)
    pair: Pair = {"picture": Path(picture).stem, "schedule": schedule, "seed": seed}
    for precision in ("fp32", path):
        asked = replace(settings, precision=precision)  # type: ignore[arg-type]
        outcome = fit(
            observe(truth, 25, streams), truth, stages, asked, streams,
            stopping=asked.stopping("smoothed"),
        )  # fmt: skip
        pair[precision] = outcome.summary()
    return pair


def compared(pairs: list[Pair], path: str) -> list[dict[str, Any]]:
    """Return mean difference and interval of each score."""
    rows = []
    for output in OUTPUTS:
        for key, unit in (("max_psnr_gt_db", "dB"), ("steps_to_max", "%")):
            exact, fast = ([pair[p][output][key] for pair in pairs] for p in ("fp32", path))
            found = interval([b - a for a, b in zip(exact, fast, strict=True)])
            scale = 1.0 if unit == "dB" else float(np.mean(exact)) / 100
            mean, low, high = (value / scale for value in found)
            row = {"output": output, "key": key, "unit": unit}
            rows.append({**row, "mean": mean, "low": low, "high": high})
    return rows


def resumed(path: Path, content: dict[str, Any]) -> list[Pair]:
    """Return the pairs of an earlier measurement, which differs at most in its load and results."""
    if not path.exists():
        return []
    earlier: dict[str, Any] = json.loads(path.read_text())
    if any(earlier.get(key) != value for key, value in content.items() if key != "load"):
        raise SystemExit(f"{path} is of another machine or measurement: remove it to start anew")
    pairs: list[Pair] = earlier["pairs"]
    return pairs


def keep(path: Path, content: dict[str, Any], pairs: list[Pair]) -> None:
    """Write all pairs so far, whole or not at all."""
    temporary = path.with_name(path.name + "~")
    temporary.write_text(json.dumps({**content, "pairs": pairs}))
    os.replace(temporary, path)


def all_jobs(pictures: list[Path]) -> Iterator[Job]:
    """Yield the trainings of pairs without end: each schedule on each picture, seed by seed."""
    for seed in count():
        for picture, schedule in product(pictures, SCHEDULES):
            yield str(picture), schedule, seed


def main() -> None:
    """Train what is missing, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--width", type=int, default=32)
    arguments.add_argument("--scales", type=int, default=4)
    arguments.add_argument("--iterations", type=int, default=1200)
    arguments.add_argument("--pairs", type=int, default=144, help="of seed 0 first, then 1, …")
    arguments.add_argument("--pictures", type=int, default=len(PICTURES), help="the first so many")
    arguments.add_argument("--path", choices=["auto", "bf16"], default="auto")
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--extend", action="store_true", help="keep the pairs of OUTPUT")
    arguments.add_argument(
        "--output", type=Path, help="[default: benchmarks/precision-SIZE.json, or …-bf16.json]"
    )
    given = arguments.parse_args()
    if not PICTURES:
        raise SystemExit("data/bsd/*.png are missing: put pictures of BSD (CBSD68) there")
    pictures = PICTURES[: given.pictures]
    kind = "" if given.path == "auto" else f"-{given.path}"
    output = given.output or Path(f"benchmarks/precision-{given.size}{kind}.json")
    is_emulated = not arithmetic._multiplies_bf16()
    content = {
        **machine(), "asked": given.path, "scale": f"{given.size}/{given.width}/{given.scales}",
        "iterations": given.iterations, "pictures": [picture.stem for picture in pictures],
        "emulated": is_emulated,
    }  # fmt: skip
    settings = TrainerSettings(
        width=given.width, scales=given.scales, iterations=given.iterations, oracle_stop="both"
    )
    partial = output.with_name(output.name + ".partial")
    pairs = resumed(output if given.extend and not partial.exists() else partial, content)
    ended = {(pair["picture"], pair["schedule"], pair["seed"]) for pair in pairs}
    wanted = islice(all_jobs(pictures), given.pairs)
    jobs = [job for job in wanted if (Path(job[0]).stem, *job[1:]) not in ended]
    pool = ProcessPoolExecutor(
        given.workers, multiprocessing.get_context("spawn"), prepare, (is_emulated,)
    )
    try:
        training = [pool.submit(train_pair, job, given.size, given.path, settings) for job in jobs]
        for future in as_completed(training):
            pairs.append(future.result())
            keep(partial, content, pairs)
            print(f"{len(pairs)}: {pairs[-1]['picture']}, {pairs[-1]['schedule']}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    content |= {"path": pairs[0][given.path]["precision"], "pairs": pairs}
    content["rows"] = compared(pairs, given.path)
    for row in content["rows"]:
        numbers = f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] {row['unit']}"
        print(f"{row['output']} {row['key']}, n = {len(pairs)}: {numbers}")
    write(content, output)
    partial.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
