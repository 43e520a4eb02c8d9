"""Check and measure the trainer on a GPU: everything that nine minutes on one can answer.

First the checks: a CUDA graph, two runs of one seed, and runs side by side give the same bytes.
Beside them it reports how far a GPU's loss and PSNR_GT are from a CPU's, which draws other noise.
Then iterations per second beside the official loop, alternating, n blocks each, at the scales that
have a goal; whether TF32 and bf16 give fp32's results, over paired runs; the price of kernels that
give the same bytes each time; trainings side by side; and running out of memory, last. Parts that
would end after `--seconds` are left out, a case that fails does not end the others, and the file
says so. `--only PART...` measures what is left in another call, and `--earlier` names the result
whose other parts are kept.

`PYTHONPATH=. python benchmarks/gpu.py --output benchmarks/gpu.json` needs torch, numpy, scipy,
scikit-image and psutil. `--peer PATH` takes the network of the official loop from a checkout of
github DmitryUlyanov/deep-image-prior.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from cells import interval, spread
from machine import machine
from parts import PARTS, SECONDS, Part, Parts, TimeIsOver, others_of, output_for, recorded
from peer import Peer

from dipstage import padding
from dipstage.pictures.images import Picture, load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import OUTPUTS, OracleBoth, VarianceMinimum
from dipstage.tasks.denoise import observe
from dipstage.tasks.inpaint import Inpaint
from dipstage.tasks.super_resolve import SuperResolve
from dipstage.training.memory import is_out_of_memory
from dipstage.training.outcome import Outcome
from dipstage.training.trainer import Job, fit_together

Name = tuple[int, int, int]
"""Side, width and scales."""
CHECKS: list[tuple[Name, str, SuperResolve | Inpaint | None]] = [
    ((64, 32, 4), "fp32", None),
    ((64, 32, 4), "tf32", None),
    ((128, 64, 5), "bf16", None),
    ((96, 16, 5), "fp32", None),
    ((64, 32, 4), "fp32", SuperResolve(2)),
    ((64, 32, 4), "fp32", Inpaint()),
]
GOALS: list[tuple[Name, int, float]] = [((512, 128, 5), 50, 55), ((128, 128, 5), 200, 35)]
"""Scales that have a goal of speed, iterations of a block, and the seconds that one takes."""
FURTHER: list[tuple[Name, int, float]] = [((128, 64, 5), 200, 35)]
"""Further scales of which the speed is measured."""
TOGETHER: list[tuple[Name, str]] = [
    ((128, 64, 5), "fp32"), ((128, 64, 5), "tf32"), ((64, 32, 4), "fp32"),
]  # fmt: skip
CROWDED: Name = (128, 64, 5)
PICTURES = ("astronaut", "chelsea", "coffee", "rocket")
"""Pictures of scikit-image that trainings are compared on."""
PRECISIONS = ("fp32", "tf32", "bf16")
SIDE_BY_SIDE = (1, 4, 10, 20)
PROCESSES, EACH = 4, 10
ITERATIONS = 200
"""Iterations of each training that is measured side by side with others."""
EQUIVALENCE: list[tuple[Name, tuple[str, ...], int, float]] = [
    ((128, 64, 5), ("tf32",), 1800, 110),
    ((64, 32, 4), ("tf32", "bf16"), 1200, 40),
]
"""Scales, formats that are compared with fp32, most iterations and seconds of paired runs.

The iterations are those of precision.py, within which nearly all maxima are decided. bf16 had 0.4
times the speed of fp32 at 128/64/5 on an H100, so that nobody would choose it there, nor does
`auto`."""
SEEDS = 20
"""Most seeds of paired runs: 4 pictures and 2 schedules each."""
SLOWER = 1.1
"""How much slower a seed may be than those before it: runs end at different iterations."""


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


def _with_task(scale: Name, task: SuperResolve | Inpaint | None) -> str:
    return words(scale) + (f", {task.kind}" if task else "")


def check(
    scale: Name, precision: str, task: SuperResolve | Inpaint | None, device: str
) -> dict[str, Any]:
    """Test equality of graphs, repetitions and runs side by side; report how far a CPU's run is.

    A GPU draws other noise than a CPU, so that no equality is expected there, and nothing is
    judged.
    """
    jobs = [job(scale, 60, precision, seed=seed, schedule="log10", task=task) for seed in range(4)]
    [eager] = fit_together(jobs[:1], device=device, graphs=False)
    [graph] = fit_together(jobs[:1], device=device)
    [again] = fit_together(jobs[:1], device=device)
    together = fit_together(jobs, device=device)
    rule = VarianceMinimum("wmv", patience=10, warmup=5)
    seen = job(scale, 150, precision, task=task)
    blind = replace(seen, ground_truth=None, stopping=rule)
    unseen = [fit_together([blind], device=device, graphs=graphs)[0] for graphs in (False, True)]
    alone = [fit_together([each], device=device)[0] for each in jobs]
    row = {
        "scale": _with_task(scale, task), "precision": precision,
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
    print("; ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
    return row


def speed(
    scale: Name, iterations: int, n: int, device: str, peer: Path | None, failed: dict[str, str]
) -> dict[str, Any]:
    """Measure the official loop and dipstage's paths in alternation, n blocks of each.

    A path that fails is left out from then on, and kept in `failed`.
    """
    paths: dict[str, Callable[[], float]] = {}
    label = f"speed: {words(scale)}, "
    with recorded(failed, label + "official loop"):
        first = job(scale, iterations, "fp32")
        loop = Peer(first.observation, first.ground_truth, first.settings, device, peer)  # type: ignore[arg-type]
        paths["official loop"] = lambda: loop.train(iterations // 2)

    def path(precision: str, graphs: bool) -> Callable[[], float]:
        wanted = job(scale, iterations, precision)
        return lambda: fit_together([wanted], device=device, graphs=graphs)[0].iterations_per_s

    paths["fp32, no graph"] = path("fp32", False)
    paths |= {precision: path(precision, True) for precision in PRECISIONS}
    found: dict[str, list[float]] = {name: [] for name in paths}
    for block in range(n + 1):
        for name in list(found):
            with recorded(failed, label + name):
                rate = paths[name]()
                if block:
                    found[name].append(rate)
            if label + name in failed:
                del found[name]
    official = found.get("official loop", [])
    for name, rates in found.items():
        ratios = [a / b for a, b in zip(rates, official, strict=False)]
        beside = f", {spread(ratios)} x the official loop" if ratios else ""
        print(
            f"{words(scale)} {name}: {statistics.median(rates):.1f} iterations/s{beside}, n = {n}",
            flush=True,
        )
    torch.cuda.empty_cache()
    return {"scale": words(scale), "iterations": iterations, "iterations_per_s": found}


def together(scale: Name, precision: str, k: int, device: str) -> dict[str, Any]:
    """Measure trainings in one process, each in a stream of its own, set-up included."""
    jobs = [job(scale, ITERATIONS, precision, seed=seed) for seed in range(k)]
    began = time.perf_counter()
    fit_together(jobs, device=device)
    rate = k * ITERATIONS / (time.perf_counter() - began)
    torch.cuda.empty_cache()
    return _side_by_side(scale, precision, f"{k} in one process", rate)


def processes(scale: Name, device: str, mps: bool) -> dict[str, Any]:
    """Measure several processes that take turns on the GPU, or share it under NVIDIA's MPS."""
    how = f"{PROCESSES} processes of {EACH}"
    if not mps:
        return _side_by_side(scale, "fp32", how, crowd(scale, device))
    with multi_process_service():
        return _side_by_side(scale, "fp32", f"{how}, MPS", crowd(scale, device))


def _side_by_side(scale: Name, precision: str, how: str, rate: float) -> dict[str, Any]:
    print(f"{words(scale)} {precision}, {how}: {rate:.0f} iterations/s in all", flush=True)
    return {"scale": words(scale), "precision": precision, "how": how, "iterations_per_s": rate}


def crowd(scale: Name, device: str) -> float:
    """Return the total iterations per second of several processes of several trainings each."""
    context = multiprocessing.get_context("spawn")
    ready, times = context.Barrier(PROCESSES), context.Queue()
    members = [
        context.Process(target=_member, args=(scale, device, ready, times), daemon=True)
        for _ in range(PROCESSES)
    ]
    for member in members:
        member.start()
    try:
        seconds = max(gathered(times, members, 120))
        for member in members:
            member.join(10)
    finally:
        for member in members:
            member.kill()
    return PROCESSES * EACH * ITERATIONS / seconds


def gathered(times: Any, members: Sequence[Any], seconds: float) -> list[float]:
    """Return what each process has put into a queue.

    Raises:
        RuntimeError: A process has ended with an error, or the seconds are over.
    """
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < len(members):
        try:
            found.append(times.get(timeout=1))
        except queue.Empty:
            codes = [member.exitcode for member in members if member.exitcode]
            if codes:
                raise RuntimeError(f"a process has ended with exit code {codes[0]}") from None
            if time.perf_counter() > end:
                raise RuntimeError(f"a process has not trained within {seconds:g} s") from None
    return found


def _member(scale: Name, device: str, ready: Any, times: Any) -> None:
    torch.set_num_threads(1)
    jobs = [job(scale, ITERATIONS, "fp32", seed=seed) for seed in range(EACH)]
    fit_together([job(scale, 10, "fp32")], device=device)
    ready.wait(120)
    began = time.perf_counter()
    fit_together(jobs, device=device)
    times.put(time.perf_counter() - began)


@contextmanager
def multi_process_service() -> Iterator[None]:
    """Run NVIDIA's MPS for the processes that are started in the block."""
    control = "nvidia-cuda-mps-control"
    names = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ.update(dict.fromkeys(names, folder))
        try:
            subprocess.run([control, "-d"], check=True, timeout=20)
            yield
        finally:
            # What was measured counts, even if the service does not end.
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run([control], input=b"quit\n", check=True, timeout=20)
            for name in names:
                del os.environ[name]


def equivalence(
    scale: Name, formats: Sequence[str], iterations: int, device: str, parts: Parts
) -> list[dict[str, Any]]:
    """Compare number formats with fp32 over paired runs: Student's 95 % intervals.

    No seed begins that would end after `parts.until`, by the slowest so far. A format that fails is
    left out from then on, and what its earlier seeds gave is kept, also if the time is over.
    """
    found: dict[str, list[Outcome]] = {precision: [] for precision in ("fp32", *formats)}
    going, slowest_s = list(found), 0.0
    for seed in range(SEEDS):
        began = time.perf_counter()
        for precision in list(going):
            name = f"equivalence: {words(scale)}, {precision}"
            try:
                with recorded(parts.failed, name):
                    runs = _paired(scale, iterations, precision, seed)
                    found[precision] += fit_together(runs, device=device)
            except TimeIsOver as over:
                parts.failed[name] = str(over)
                going.clear()
                break
            if name in parts.failed:
                going.remove(precision)
        now = time.perf_counter()
        slowest_s = max(slowest_s, now - began)
        are_pairs = "fp32" in going and len(going) > 1
        if not are_pairs or now + SLOWER * slowest_s > parts.until:
            break
    return [row for path in formats for row in _differences(scale, path, found)]


def _paired(scale: Name, iterations: int, precision: str, seed: int) -> list[Job]:
    """Return the runs of a seed, which end once PSNR_GT of neither output rises."""
    runs = [
        job(scale, iterations, precision, seed=seed, picture=picture, schedule=schedule)
        for picture in PICTURES
        for schedule in ("baseline", "log10")
    ]
    return [replace(run, stopping=OracleBoth()) for run in runs]


def _differences(
    scale: Name, path: str, found: dict[str, list[Outcome]]
) -> Iterator[dict[str, Any]]:
    """Yield a path's differences to fp32 over the runs that both have."""
    pairs = list(zip(found[path], found["fp32"], strict=False))
    for output in OUTPUTS if pairs else ():
        for key in ("max_psnr_gt_db", "steps_to_max"):
            ours, theirs = (
                [getattr(outcome.scores(output), key) for outcome in outcomes]
                for outcomes in zip(*pairs, strict=True)
            )
            in_db = key == "max_psnr_gt_db"
            share = 1.0 if in_db else float(np.mean(theirs)) / 100
            differences = [(a - b) / share for a, b in zip(ours, theirs, strict=True)]
            mean, low, high = interval(differences)
            unit = "dB" if in_db else "%"
            censored = sum(each.scores(output).censored for pair in pairs for each in pair)
            print(
                f"{words(scale)} {path} against fp32, {output} {key}: {mean:+.3f} "
                f"[{low:+.3f}, {high:+.3f}] {unit}, n = {len(ours)}, {censored} of "
                f"{2 * len(ours)} trainings censored",
                flush=True,
            )
            yield {"scale": words(scale), "path": path, "output": output, "key": key,
                   "unit": unit, "n": len(ours), "censored": censored, "mean": mean, "low": low,
                   "high": high, "differences": differences}  # fmt: skip


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


def out_of_memory(device: str, failed: dict[str, str]) -> dict[str, Any]:
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
    row["trains afterwards"] = False
    with recorded(failed, "out_of_memory: training afterwards"):
        [small] = fit_together([job((64, 32, 4), 10, "fp32")], device=device)
        row["trains afterwards"] = small.iterations == 10
    print(f"out of memory: {row}", flush=True)
    return row


def planned(device: str, blocks: int, peer: Path | None, parts: Parts) -> list[Part]:
    """Return all parts: what the goals of speed and the choice of `auto` depend on comes first."""

    def speeds(scales: list[tuple[Name, int, float]]) -> list[Part]:
        return [
            Part("speed", words(scale), expected_s,
                 partial(speed, scale, iterations, blocks, device, peer, parts.failed))
            for scale, iterations, expected_s in scales
        ]  # fmt: skip

    checks = [
        Part("checks", f"{_with_task(scale, task)} {precision}", 13,
             partial(check, scale, precision, task, device))
        for scale, precision, task in CHECKS
    ]  # fmt: skip
    pairs = [
        Part("equivalence", words(scale), expected_s,
             partial(equivalence, scale, formats, iterations, device, parts))
        for scale, formats, iterations, expected_s in EQUIVALENCE
    ]  # fmt: skip
    scale = (128, 64, 5)
    price_of_bytes = Part("price", words(scale), 20, partial(price, scale, 300, device))
    in_one_process = [
        Part("together", f"{words(scale)} {precision}, {k}", 1 + 0.4 * k,
             partial(together, scale, precision, k, device))
        for scale, precision in TOGETHER
        for k in SIDE_BY_SIDE
    ]  # fmt: skip
    kinds = (False, True) if shutil.which("nvidia-cuda-mps-control") else (False,)
    in_several = [
        Part("together", f"{words(CROWDED)}, {PROCESSES} processes" + ", MPS" * mps, 30,
             partial(processes, CROWDED, device, mps))
        for mps in kinds
    ]  # fmt: skip
    last = Part("out_of_memory", "4 trainings", 15, partial(out_of_memory, device, parts.failed))
    return [*checks, *speeds(GOALS), *pairs, *speeds(FURTHER), price_of_bytes, *in_one_process,
            *in_several, last]  # fmt: skip


def arguments_of(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, and refuse files that are not there before anything is measured."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    arguments.add_argument("--blocks", type=int, default=3)
    arguments.add_argument(
        "--only", nargs="+", choices=PARTS, help="these parts; others of EARLIER are kept"
    )
    arguments.add_argument("--earlier", type=Path, help="an earlier result (default: OUTPUT)")
    arguments.add_argument("--peer", type=Path, help="checkout of the official repository")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/gpu.json"))
    given = arguments.parse_args(words)
    if given.peer and not (given.peer / "models/skip.py").is_file():
        arguments.error(
            f"--peer {given.peer} has no models/skip.py: name a checkout of "
            "https://github.com/DmitryUlyanov/deep-image-prior"
        )
    if given.earlier and not given.earlier.is_file():
        arguments.error(f"--earlier {given.earlier} is not a file: name an earlier result")
    return given


def main() -> int:
    """Check, measure, print and write; return 1 if a check or a part failed, kept ones too."""
    given = arguments_of()
    device = "cuda"
    torch.set_num_threads(1)
    content = machine(
        device=torch.cuda.get_device_name(device), cuda=torch.version.cuda,
        cudnn=torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        peer="its own network" if given.peer else "ours",
    )  # fmt: skip
    output = given.output
    if given.only:
        output = output_for(given.output, content)
        content |= others_of(given.earlier or output, content, given.only)
    age_s = time.time() - psutil.Process().create_time()
    parts = Parts(content, output, given.seconds - age_s, given.only)
    parts.measure_all(planned(device, given.blocks, given.peer, parts))
    print(f"left out for lack of time: {', '.join(parts.left_out) or 'nothing'}")
    for name, error in parts.failed.items():
        print(f"failed: {name}: {error}")
    return 0 if is_good(content) and not parts.failed else 1


def is_good(content: dict[str, Any]) -> bool:
    """Return whether all checks hold, those of running out of memory too."""
    rows = [*content.get("checks", []), *content.get("out_of_memory", [])]
    return all(value for row in rows for value in row.values() if isinstance(value, bool))


if __name__ == "__main__":
    sys.exit(main())
