"""The duration of an iteration, on a clock that the test sets."""

from types import SimpleNamespace

import pytest
import torch

from dipstage.randomness import Streams
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.training import timing
from dipstage.training.measurements import BLOCK
from dipstage.training.trainer import Job


@pytest.mark.parametrize(
    ("device", "durations", "expected"),
    [
        ("cpu", [9.0, 3.0, 0.05, 0.05, 0.05, 0.05, 0.05], 0.05),
        ("cpu", [9.0, 3.0, 2.0], 2.0),  # One iteration of a large picture is enough.
        ("cuda", [9.0, 3.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1], 0.1 / BLOCK),
    ],
)
def test_the_warm_up_does_not_count(
    monkeypatch: pytest.MonkeyPatch, device: str, durations: list[float], expected: float
) -> None:
    """Durations are those of iterations on a CPU, and of blocks on a GPU.

    On a GPU the third block captures the graph of SSIM. As in a training, `each` ends a block.
    """
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    left = list(durations)

    def train(jobs: list[Job], device: torch.device) -> None:
        (job,), ends, iteration = jobs, False, 0
        length = 1 if device.type == "cpu" else BLOCK
        assert job.each is not None
        while not ends:
            for _ in range(length):
                iteration += 1
                clock.now += left[0] / length
                ends = job.each(iteration, torch.zeros(0))
                if ends:
                    break
            if job.progress is not None:
                job.progress(None)  # type: ignore[arg-type]
            left.pop(0)

    monkeypatch.setattr(timing, "fit_together", train)
    job = Job(torch.zeros(0), None, Schedule.plain(2), TrainerSettings(), Streams("a" * 64, 0))
    assert timing.seconds_per_iteration(job, device) == pytest.approx(expected)


@pytest.mark.parametrize("blocks", range(5))
def test_a_training_that_diverges_on_a_gpu_is_timed_too(
    monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def train(jobs: list[Job], device: torch.device) -> None:
        for _ in range(blocks):
            clock.now += 0.05
            assert jobs[0].progress is not None
            jobs[0].progress(None)  # type: ignore[arg-type]
        clock.now += 0.05

    monkeypatch.setattr(timing, "fit_together", train)
    job = Job(torch.zeros(0), None, Schedule.plain(2), TrainerSettings(), Streams("a" * 64, 0))
    assert timing.seconds_per_iteration(job, "cuda") == pytest.approx(0.05 / BLOCK)
