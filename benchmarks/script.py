"""The search that a user would otherwise write: Ray Tune around the official loop.

It uses a function trainable and `OptunaSearch` with its study in memory. It does not reuse workers
and trains every replicate to the end of its budget. The space, the pictures and the staged targets
are those of dipsearch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from peer import Peer

from search.execution.ray_internals import on_loopback  # isort: skip - before Ray: it sets Ray's environment

import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from dipstage.pictures.images import Picture
from dipstage.randomness import Stream, Streams
from dipstage.schedules.noise import noised
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.tasks.denoise import observe
from search.experiment.searched import Space
from search.experiment.space import decode, suggest

OBJECTIVES = ["max_psnr_gt_db", "steps_to_max"]


def official(
    picture: Picture, seed: int, schedule: Schedule, settings: TrainerSettings, peer: Path | None
) -> tuple[float, int]:
    """Train the official loop through a schedule; return max PSNR_GT and the steps to it."""
    truth, streams = picture.tensor(), Streams(picture.digest, seed)
    observation = observe(truth, 25, streams)
    torch.manual_seed(seed)
    loop = Peer(observation, truth, settings, "cpu", peer)
    for rank, stage in enumerate(schedule.stages):
        target = observation
        if stage.alpha_bar < 1:
            noise = torch.randn(observation.shape, generator=streams.generator(
                Stream.STAGE_NOISE, rank))  # fmt: skip
            target = noised(observation, stage.alpha_bar, noise)
        loop.aim(target)
        loop.train(stage.iterations)
    best = max(loop.psnr_gt)
    return best, loop.psnr_gt.index(best)


def _trainable(
    pictures: list[Picture], space: Space, settings: TrainerSettings, peer: Path | None
) -> Callable[[dict[str, Any]], None]:
    def train(config: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        schedule = decode(config, space, 25.0).family.schedule(settings.iterations)
        scores = [official(picture, 0, schedule, settings, peer) for picture in pictures]
        tune.report({key: fmean(v) for key, v in zip(OBJECTIVES, zip(*scores), strict=True)})  # noqa: B905

    return train


def _define(trial: Any, space: Space) -> None:
    suggest(trial, space, 25.0)


def search_by_script(
    pictures: list[Picture],
    space: Space,
    settings: TrainerSettings,
    trials: int,
    seed: int,
    peer: Path | None,
    scratch: str,
) -> list[tuple[Schedule, float, float]]:
    """Run the search; return the schedule and the objectives of every trial."""
    # Not with `ray_cluster`, whose workers import from nowhere but this project's packages.
    with on_loopback():
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        results = tune.Tuner(
            tune.with_resources(_trainable(pictures, space, settings, peer), {"cpu": 1}),
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(
                    space=partial(_define, space=space),
                    metric=OBJECTIVES,
                    mode=["max", "min"],
                    seed=seed,
                ),
                num_samples=trials,
            ),
            run_config=tune.RunConfig(name="script", storage_path=scratch, verbose=0),
        ).fit()
        return [
            (
                decode(result.config, space, 25.0).family.schedule(settings.iterations),
                result.metrics["max_psnr_gt_db"],
                result.metrics["steps_to_max"],
            )
            for result in results
        ]
    finally:
        ray.shutdown()
