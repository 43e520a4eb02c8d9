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
        ("cuda", [9.0, 3.0, 0.1, 0.1, 0.1, 0.1, 0.1], 0.1 / BLOCK),
    ],
)
def test_the_warm_up_does_not_count(
    monkeypatch: pytest.MonkeyPatch, device: str, durations: list[float], expected: float
) -> None:
    """Durations are those of iterations on a CPU, and of blocks on a GPU."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    left = list(durations)

    def train(jobs: list[Job], device: torch.device) -> None:
        (job,), ends, iteration = jobs, False, 0
        assert job.each is not None
        while not ends:
            for _ in range(1 if device.type == "cpu" else BLOCK):
                iteration += 1
                clock.now += left[0] if device.type == "cpu" else 0
                ends = job.each(iteration, torch.zeros(0))
            if job.progress is not None:
                clock.now += left[0]
                job.progress(None)  # type: ignore[arg-type]
            left.pop(0)

    monkeypatch.setattr(timing, "fit_together", train)
    job = Job(torch.zeros(0), None, Schedule.plain(2), TrainerSettings(), Streams("a" * 64, 0))
    assert timing.seconds_per_iteration(job, device) == pytest.approx(expected)
