"""Test whether faster arithmetic gives the same results, by paired runs in fp32 and another format.

Claim: over n pairs with the same picture, seed and schedule, the mean difference of max PSNR_GT
(raw and smoothed, in dB) and of the steps to it (relative to the mean of fp32), with Student's 95 %
interval. `PYTHONPATH=. python benchmarks/precision.py --workers 2` takes 40 minutes on two cores.
If it is interrupted, the same call goes on: pairs are kept in OUTPUT.partial until all have ended.
`--path` selects the format; the default is what `trainer.precision: auto` selects on a CPU that
multiplies bf16 in hardware. On other CPUs this arithmetic is emulated, as PyTorch's own
convolutions of bf16 are slow there (see `convolved`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
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
from dipstage.training import arithmetic
from dipstage.training.trainer import fit, observe

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
    """Return the pairs of an interrupted measurement; all but the load must be the same."""
    if not path.exists():
        return []
    earlier: dict[str, Any] = json.loads(path.read_text())
    pairs: list[Pair] = earlier.pop("pairs")
    if {**earlier, "load": 0} != {**content, "load": 0}:
        raise SystemExit(f"{path} is of another machine or measurement: remove it to start anew")
    return pairs


def keep(path: Path, content: dict[str, Any], pairs: list[Pair]) -> None:
    """Write all pairs so far, whole or not at all."""
    temporary = path.with_name(path.name + "~")
    temporary.write_text(json.dumps({**content, "pairs": pairs}))
    os.replace(temporary, path)


def main() -> None:
    """Train what is missing, print and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--size", type=int, default=64)
    arguments.add_argument("--width", type=int, default=32)
    arguments.add_argument("--scales", type=int, default=4)
    arguments.add_argument("--iterations", type=int, default=1200)
    arguments.add_argument("--seeds", type=int, nargs="+", default=list(range(6)))
    arguments.add_argument("--pictures", type=int, default=len(PICTURES), help="the first so many")
    arguments.add_argument("--path", choices=["auto", "bf16"], default="auto")
    arguments.add_argument("--workers", type=int, default=1)
    arguments.add_argument("--output", type=Path, help="[default: benchmarks/precision-SIZE.json]")
    given = arguments.parse_args()
    if not PICTURES:
        raise SystemExit("data/bsd/*.png are missing: put pictures of BSD (CBSD68) there")
    pictures = PICTURES[: given.pictures]
    output = given.output or Path(f"benchmarks/precision-{given.size}.json")
    is_emulated = not arithmetic._multiplies_bf16()
    content = {
        **machine(), "asked": given.path, "scale": f"{given.size}/{given.width}/{given.scales}",
        "iterations": given.iterations, "seeds": given.seeds,
        "pictures": [picture.stem for picture in pictures], "emulated": is_emulated,
    }  # fmt: skip
    settings = TrainerSettings(
        width=given.width, scales=given.scales, iterations=given.iterations, oracle_stop="both"
    )
    partial = output.with_name(output.name + ".partial")
    pairs = resumed(partial, content)
    ended = {(pair["picture"], pair["schedule"], pair["seed"]) for pair in pairs}
    jobs: list[Job] = [
        (str(picture), schedule, seed)
        for seed in given.seeds for picture in pictures for schedule in SCHEDULES
        if (picture.stem, schedule, seed) not in ended
    ]  # fmt: skip
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
