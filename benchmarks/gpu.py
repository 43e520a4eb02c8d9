"""Check and measure the trainer on a GPU: everything that a first lease of one should answer.

First the checks: a CUDA graph, two runs of one seed, and runs side by side give the same bytes; a
GPU gives a CPU's curves; TF32 and bf16 give fp32's results over paired runs. Then iterations per
second beside the official loop, alternating, n blocks each; trainings side by side in one process;
the price of kernels that give the same bytes each time; running out of memory. Parts that would end
after `--seconds` are left out, a part that fails does not end the others, and the file says so.
`--only PART...` measures what is left in another call.

`PYTHONPATH=. python benchmarks/gpu.py --output benchmarks/gpu.json` needs torch, numpy, scipy,
scikit-image and psutil. `--peer PATH` takes the network of the official loop from a checkout of
github DmitryUlyanov/deep-image-prior.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import queue
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cells import interval
from machine import machine, write
from peer import Peer

from dipstage import padding
from dipstage.pictures.images import Picture, load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import OUTPUTS, VarianceMinimum
from dipstage.tasks.denoise import observe
from dipstage.tasks.inpaint import Inpaint
from dipstage.tasks.super_resolve import SuperResolve
from dipstage.training.memory import is_out_of_memory
from dipstage.training.outcome import Outcome
from dipstage.training.trainer import Job, fit_together

EXPECTED_S = {
    "checks": 75, "out_of_memory": 15, "speed": 55, "price": 20, "together": 60, "equivalence": 45,
}  # fmt: skip
"""Parts, and the seconds that each takes at one scale, by first readings on an H100."""
SCALES = [
    (128, 128, 5, 200), (512, 128, 5, 50), (128, 64, 5, 200), (64, 32, 4, 200), (256, 128, 5, 100),
]  # fmt: skip
"""Side, width, scales, and iterations of a block; those that have a goal come first."""
TOGETHER = [(128, 64, 5, 200), (64, 32, 4, 200)]
PICTURES = ("astronaut", "chelsea", "coffee", "rocket")
"""Pictures of scikit-image that trainings are compared on."""
PRECISIONS = ("fp32", "tf32", "bf16")
SIDE_BY_SIDE = (1, 4, 10, 20)
PROCESSES, EACH = 4, 10
EQUIVALENCE = [(64, 32, 4, 800), (128, 64, 5, 1000)]
"""Side, width, scales and iterations of paired runs."""
SEEDS = 10
"""Most seeds of paired runs: 4 pictures and 2 schedules each."""
Name = tuple[int, int, int]


def words(scale: Name) -> str:
    """Return a scale as `side/width/scales`."""
    return "/".join(map(str, scale))


def job(
    scale: Name, iterations: int, precision: Any, *, seed: int = 0, picture: str = "astronaut",
    schedule: str = "baseline", task: SuperResolve | Inpaint | None = None,
) -> Job:  # fmt: skip
    """Return a run on a picture of scikit-image, at sigma 25 unless another task is given."""
    settings = TrainerSettings(width=scale[1], scales=scale[2], precision=precision)
    loaded = _picture(picture, scale[0], settings.multiple)
    truth, streams = loaded.tensor(), Streams(loaded.digest, seed)
    stages = parse_preset(schedule).schedule(iterations)
    observed = task.observe(truth, streams) if task else observe(truth, 25, streams)
    return Job(observed, truth, stages, settings, streams)


_pictures: dict[tuple[str, int], Picture] = {}


def _picture(name: str, size: int, multiple: int) -> Picture:
    key = (name, size)
    if key not in _pictures:
        _pictures[key] = load_picture(f"skimage:{name}", size=size, multiple=multiple)
    return _pictures[key]


def same(one: Outcome, other: Outcome) -> bool:
    """Return whether two runs have the same curves, bit for bit."""
    arrays = other.trace.arrays()
    return all(np.array_equal(v, arrays[k], equal_nan=True) for k, v in one.trace.arrays().items())


def _same_selected(one: Outcome, other: Outcome) -> bool:
    a, b = one.selected, other.selected
    if a is None or b is None:
        return False
    pictures = np.array_equal(a.raw, b.raw) and np.array_equal(a.smoothed, b.smoothed)
    return same(one, other) and a.iteration == b.iteration and pictures


def checks(device: str) -> list[dict[str, Any]]:
    """Test equality of graphs, repetitions and runs side by side, and nearness to a CPU."""
    rows = []
    for scale, precision, task in [
        ((64, 32, 4), "fp32", None),
        ((64, 32, 4), "tf32", None),
        ((128, 64, 5), "bf16", None),
        ((96, 16, 5), "fp32", None),
        ((64, 32, 4), "fp32", SuperResolve(2)),
        ((64, 32, 4), "fp32", Inpaint()),
    ]:
        jobs = [
            job(scale, 60, precision, seed=seed, schedule="log10", task=task) for seed in range(4)
        ]
        [eager] = fit_together(jobs[:1], device=device, graphs=False)
        [graph] = fit_together(jobs[:1], device=device)
        [again] = fit_together(jobs[:1], device=device)
        together = fit_together(jobs, device=device)
        rule = VarianceMinimum("wmv", patience=10, warmup=5)
        seen = job(scale, 150, precision, task=task)
        blind = replace(seen, ground_truth=None, stopping=rule)
        unseen = [
            fit_together([blind], device=device, graphs=graphs)[0] for graphs in (False, True)
        ]
        alone = [fit_together([each], device=device)[0] for each in jobs]
        row = {
            "scale": words(scale) + (f", {task.kind}" if task else ""), "precision": precision,
            "graph gives eager's bytes": same(eager, graph),
            "a second run gives the same bytes": same(graph, again),
            "side by side gives the same bytes": all(map(same, together, alone)),
            "without ground truth, graph selects eager's picture": _same_selected(*unseen),
            "finite": bool(np.isfinite(graph.trace.loss).all()),
        }  # fmt: skip
        if precision == "fp32":
            [cpu] = fit_together(jobs[:1])
            far = np.abs(cpu.trace.psnr_gt_raw_db - graph.trace.psnr_gt_raw_db)
            row["first losses over a CPU's"] = float(
                np.abs(graph.trace.loss[:1] / cpu.trace.loss[:1] - 1).max()
            )
            row["PSNR_GT differs from a CPU's by dB (median of 60)"] = float(np.median(far))
        rows.append(row)
        print("; ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
    return rows


def speed(scale: Name, iterations: int, n: int, device: str, peer: Path | None) -> dict[str, Any]:
    """Measure the official loop and dipstage's paths in alternation, n blocks of each."""
    first = job(scale, iterations, "fp32")
    loop = Peer(first.observation, first.ground_truth, first.settings, device, peer)  # type: ignore[arg-type]
    paths: dict[str, Callable[[], float]] = {"official loop": lambda: loop.train(iterations // 2)}

    def path(precision: str, graphs: bool) -> Callable[[], float]:
        wanted = job(scale, iterations, precision)
        return lambda: fit_together([wanted], device=device, graphs=graphs)[0].iterations_per_s

    paths["fp32, no graph"] = path("fp32", False)
    paths |= {precision: path(precision, True) for precision in PRECISIONS}
    found: dict[str, list[float]] = {name: [] for name in paths}
    for block in range(n + 1):
        for name, run in paths.items():
            rate = run()
            if block:
                found[name].append(rate)
    for name, rates in found.items():
        ratios = [a / b for a, b in zip(rates, found["official loop"], strict=True)]
        print(
            f"{words(scale)} {name}: {statistics.median(rates):.1f} iterations/s, "
            f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f}, n = {n})",
            flush=True,
        )
    torch.cuda.empty_cache()
    return {"scale": words(scale), "iterations": iterations, "iterations_per_s": found}


def together(scale: Name, iterations: int, device: str) -> list[dict[str, Any]]:
    """Measure trainings side by side: total iterations per second, set-up included.

    In one process each training has its own stream. Several processes take turns on the GPU, or
    share it under NVIDIA's MPS if `nvidia-cuda-mps-control` is installed.
    """
    rows: list[dict[str, Any]] = []

    def add(precision: str, how: str, rate: float) -> None:
        rows.append(
            {"scale": words(scale), "precision": precision, "how": how, "iterations_per_s": rate}
        )
        print(f"{words(scale)} {precision}, {how}: {rate:.0f} iterations/s in all", flush=True)

    for precision in ("fp32", "tf32"):
        for k in SIDE_BY_SIDE:
            if k * scale[0] ** 2 <= 16 * 256**2:
                jobs = [job(scale, iterations, precision, seed=seed) for seed in range(k)]
                began = time.perf_counter()
                fit_together(jobs, device=device)
                rate = k * iterations / (time.perf_counter() - began)
                add(precision, f"{k} in one process", rate)
    torch.cuda.empty_cache()
    add("fp32", f"{PROCESSES} processes of {EACH}", crowd(scale, iterations, device))
    if shutil.which("nvidia-cuda-mps-control"):
        with multi_process_service():
            rate = crowd(scale, iterations, device)
            add("fp32", f"{PROCESSES} processes of {EACH}, MPS", rate)
    return rows


def crowd(scale: Name, iterations: int, device: str) -> float:
    """Return the total iterations per second of several processes of several trainings each."""
    context = multiprocessing.get_context("spawn")
    ready, times = context.Barrier(PROCESSES), context.Queue()
    members = [
        context.Process(target=_member, args=(scale, iterations, device, ready, times), daemon=True)
        for _ in range(PROCESSES)
    ]
    for member in members:
        member.start()
    try:
        seconds: float = max(times.get(timeout=120) for _ in members)
    except queue.Empty:
        raise RuntimeError("a process has not trained within 120 s") from None
    finally:
        for member in members:
            member.join(10)
            member.kill()
    return PROCESSES * EACH * iterations / seconds


def _member(scale: Name, iterations: int, device: str, ready: Any, times: Any) -> None:
    torch.set_num_threads(1)
    jobs = [job(scale, iterations, "fp32", seed=seed) for seed in range(EACH)]
    fit_together([job(scale, 10, "fp32")], device=device)
    ready.wait(120)
    began = time.perf_counter()
    fit_together(jobs, device=device)
    times.put(time.perf_counter() - began)


@contextmanager
def multi_process_service() -> Iterator[None]:
    """Run NVIDIA's MPS for the processes that are started in the block."""
    with tempfile.TemporaryDirectory() as folder:
        names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
        os.environ.update(dict.fromkeys(names, folder))
        subprocess.run(["nvidia-cuda-mps-control", "-d"], check=True)
        try:
            yield
        finally:
            subprocess.run(["nvidia-cuda-mps-control"], input=b"quit\n", check=True)
            for name in names:
                del os.environ[name]


def equivalence(scale: Name, iterations: int, until: float, device: str) -> list[dict[str, Any]]:
    """Compare TF32 and bf16 with fp32 over paired runs: Student's 95 % intervals.

    No seed begins that would end after `until`, which is on `time.perf_counter`.
    """
    found: dict[str, list[Outcome]] = {precision: [] for precision in PRECISIONS}
    for seed in range(SEEDS):
        began = time.perf_counter()
        for precision in PRECISIONS:
            jobs = [
                job(scale, iterations, precision, seed=seed, picture=picture, schedule=schedule)
                for picture in PICTURES
                for schedule in ("baseline", "log10")
            ]
            found[precision] += fit_together(jobs, device=device)
        if 2 * time.perf_counter() - began > until:
            break
    rows = []
    for precision in PRECISIONS[1:]:
        for output in OUTPUTS:
            for key in ("max_psnr_gt_db", "steps_to_max"):
                ours, theirs = (
                    [getattr(outcome.scores(output), key) for outcome in found[name]]
                    for name in (precision, "fp32")
                )
                in_db = key == "max_psnr_gt_db"
                share = 1.0 if in_db else float(np.mean(theirs)) / 100
                differences = [(a - b) / share for a, b in zip(ours, theirs, strict=True)]
                mean, low, high = interval(differences)
                row = {"scale": words(scale), "path": precision, "output": output, "key": key,
                       "unit": "dB" if in_db else "%", "n": len(ours), "mean": mean, "low": low,
                       "high": high, "differences": differences}  # fmt: skip
                rows.append(row)
                print(
                    f"{words(scale)} {precision} against fp32, {output} {key}: {mean:+.3f} "
                    f"[{low:+.3f}, {high:+.3f}] {row['unit']}, n = {len(ours)}",
                    flush=True,
                )
    return rows


def price(scale: Name, iterations: int, device: str) -> dict[str, Any]:
    """Measure the network as a GPU has it against PyTorch's own padding, up-sampling and biases."""
    ours = padding.is_on_gpu
    rates: dict[str, list[float]] = {"same bytes": [], "PyTorch's own": []}
    for _ in range(4):
        for name, found in rates.items():
            padding.is_on_gpu = ours if name == "same bytes" else lambda x: False
            try:
                [outcome] = fit_together([job(scale, iterations, "fp32")], device=device)
            finally:
                padding.is_on_gpu = ours
            found.append(outcome.iterations_per_s)
    pairs = zip(rates["same bytes"][1:], rates["PyTorch's own"][1:], strict=True)
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"{words(scale)} fp32: the same bytes at {ratio:.3f} x the speed of PyTorch's own kernels"
    )
    return {"scale": words(scale), "iterations_per_s": rates}


def out_of_memory(device: str) -> dict[str, Any]:
    """Run out of memory for real, and train again afterwards.

    Nothing else may be measured after it in the same process: cuDNN keeps the engines that it chose
    while memory was short.
    """
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(device)
    held = torch.empty(free - int(0.03 * total), dtype=torch.uint8, device=device)
    large = job((512, 128, 5), 5, "fp32")
    try:
        fit_together([large] * 4, device=device)
        row: dict[str, Any] = {"ran out": False}
    except Exception as error:
        row = {"ran out": True, "recognised": is_out_of_memory(error)}
    del held
    torch.cuda.empty_cache()
    row["trains afterwards"] = (
        fit_together([job((64, 32, 4), 10, "fp32")], device=device)[0].iterations == 10
    )
    print(f"out of memory: {row}", flush=True)
    return row


class Parts:
    """Parts of the measurement, each of which is measured if it fits, and then written.

    Args:
        content: Where the results go.
        output: The file of the results.
        seconds: When the last part must have ended, from now.
        only: The parts that are measured; None for all.
    """

    def __init__(
        self, content: dict[str, Any], output: Path, seconds: float, only: Sequence[str] | None
    ) -> None:
        self._content, self._output, self._only = content, output, only or tuple(EXPECTED_S)
        self._end = time.perf_counter() + seconds
        self.left_out: list[str] = []
        self.failed: dict[str, str] = {}

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self._end - time.perf_counter()

    def measure(self, key: str, measure: Callable[[], Any]) -> None:
        """Measure a part, unless it would end too late; one that fails does not end the others."""
        if key not in self._only:
            return
        if self.left_s < EXPECTED_S[key]:
            self.left_out.append(key)
            self._write()
            return
        start = time.perf_counter()
        signal.signal(signal.SIGALRM, _time_is_over)
        signal.alarm(math.ceil(self.left_s))
        try:
            found = measure()
            self._content.setdefault(key, []).extend(found if isinstance(found, list) else [found])
        except Exception as error:
            traceback.print_exc()
            self.failed[key] = f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
        print(f"  {key}: {time.perf_counter() - start:.1f} s", flush=True)
        self._write()

    def _write(self) -> None:
        self._content |= {"left_out": self.left_out, "failed": self.failed}
        write(self._content, self._output)


def _time_is_over(*_: object) -> None:
    raise TimeoutError("the time for all parts is over")


def others_of(earlier: Path, content: dict[str, Any], only: Sequence[str]) -> dict[str, Any]:
    """Return the other parts of an earlier measurement on the same machine."""
    if not earlier.exists():
        return {}
    found: dict[str, Any] = json.loads(earlier.read_text())
    if any(found.get(key) != value for key, value in content.items() if key != "load"):
        raise SystemExit(f"{earlier} is of another machine: remove it, or measure all parts")
    return {key: found[key] for key in EXPECTED_S if key in found and key not in only}


def main() -> int:
    """Check, measure, print and write; return 1 if a check or a part failed."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=520)
    arguments.add_argument("--blocks", type=int, default=3)
    arguments.add_argument(
        "--only", nargs="+", choices=EXPECTED_S, help="these parts; others of OUTPUT are kept"
    )
    arguments.add_argument("--peer", type=Path, help="checkout of the official repository")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/gpu.json"))
    given = arguments.parse_args()
    device = "cuda"
    torch.set_num_threads(1)
    content = machine(
        device=torch.cuda.get_device_name(device), cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        peer="its own network" if given.peer else "ours",
    )  # fmt: skip
    if given.only:
        content |= others_of(given.output, content, given.only)
    parts = Parts(content, given.output, given.seconds, given.only)
    parts.measure("checks", lambda: checks(device))
    for *scale, block in SCALES:
        parts.measure(
            "speed",
            lambda s=tuple(scale), i=block: speed(s, i, given.blocks, device, given.peer),  # type: ignore[misc]
        )
    parts.measure("price", lambda: price((128, 64, 5), 300, device))
    for *scale, block in TOGETHER:
        parts.measure("together", lambda s=tuple(scale), i=block: together(s, i, device))  # type: ignore[misc]
    for rest, (*scale, iterations) in enumerate(reversed(EQUIVALENCE), 1):
        until = time.perf_counter() + parts.left_s / (len(EQUIVALENCE) + 1 - rest)
        parts.measure(
            "equivalence",
            lambda s=tuple(scale), i=iterations, u=until: equivalence(s, i, u, device),  # type: ignore[misc]
        )
    parts.measure("out_of_memory", lambda: out_of_memory(device))
    print(f"left out for lack of time: {', '.join(parts.left_out) or 'nothing'}")
    for key, words in parts.failed.items():
        print(f"failed: {key}: {words}")
    rows = content.get("checks", [])
    good = all(v for row in rows for v in row.values() if isinstance(v, bool))
    return 0 if good and not parts.failed else 1


if __name__ == "__main__":
    sys.exit(main())
