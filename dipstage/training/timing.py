"""Duration of an iteration, measured on a few of them."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from dipstage.schedules.schedule import Schedule
from dipstage.training.measurements import BLOCK
from dipstage.training.trainer import Job, fit_together

_MEASURED_S = 0.2
_MOST_MARKS = 100


def seconds_per_iteration(job: Job, device: torch.device | str) -> float:
    """Return the duration of an iteration of a training, which changes nothing in it.

    It is the mean over at least one iteration and about 0.2 s; on a GPU over whole blocks. Before
    that, two iterations load libraries (on a GPU, three blocks, the last of which captures the
    graph of SSIM if there is a ground truth), and are not counted.

    Args:
        job: The training. Plain DIP is trained in its place, which takes as long.
        device: Where to train.
    """
    device = torch.device(device)
    # A GPU is waited for once in each block.
    step, warm_up = (BLOCK, 3) if device.type == "cuda" else (1, 2)
    marks = [time.perf_counter()]

    def mark(*_: object) -> None:
        marks.append(time.perf_counter())

    def ends(iteration: int, _: torch.Tensor) -> bool:
        if step == 1:
            mark()
        if iteration % step or len(marks) < warm_up + 2:
            return False
        return marks[-1] - marks[warm_up] > _MEASURED_S

    schedule = Schedule.plain(_MOST_MARKS * step)
    settings = job.schedule.recipe.applied_to(job.settings)
    watched = replace(job, progress=mark if step > 1 else None, each=ends)
    timed = replace(watched, schedule=schedule, settings=settings)
    fit_together([timed], device=device)
    if len(marks) < warm_up + 2:  # A block whose loss is not finite is not marked on a GPU.
        mark()
    first = min(warm_up, len(marks) - 2)
    return (marks[-1] - marks[first]) / (len(marks) - 1 - first) / step
