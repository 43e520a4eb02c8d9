"""The targets of a schedule, for the trainer and for training loops of others."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dipstage.arguments import check_kind, check_pixels
from dipstage.randomness import Stream, Streams
from dipstage.schedules.noise import TARGETS
from dipstage.schedules.schedule import Schedule, Step


def targets(observation: Tensor, schedule: Schedule, streams: Streams) -> Iterator[Tensor]:
    """Yield the target of each iteration of a schedule.

    Args:
        observation: (1, C, H, W) float32 in [0, 1].
        schedule: Stages and recipe.
        streams: Random streams of the replicate.

    Yields:
        `schedule.iterations` tensors of the observation's shape and device. Those of noised stages
        are not clipped; those of the last stage are the observation itself.
    """
    check_pixels("observation", observation, bounded=False)
    check_targets(schedule, streams)
    made = Targets(observation, schedule, streams)
    for iteration in range(schedule.iterations):
        yield made.at(schedule.at(iteration))


def check_targets(schedule: Schedule, streams: Streams) -> None:
    """Raise InputError for arguments of other types."""
    check_kind("schedule", schedule, Schedule, "see parse_preset, load_schedule and Schedule")
    check_kind("streams", streams, Streams, "write Streams(picture.digest, seed)")


class Targets:
    """Targets by step. Steps must be asked for in order, from that of iteration 0.

    The arguments are those of `targets`.
    """

    def __init__(self, observation: Tensor, schedule: Schedule, streams: Streams) -> None:
        self._observation, self._recipe, self._streams = observation, schedule.recipe, streams
        self._ranks = {
            alpha_bar: rank
            for rank, alpha_bar in enumerate(sorted(s.alpha_bar for s in schedule.stages))
        }
        self._fresh = streams.generator(Stream.FRESH_STAGE_NOISE, device=observation.device)
        self._stage, self._target = -1, observation

    def at(self, step: Step) -> Tensor:
        """Return the target of the next step: (1, C, H, W) float32."""
        if step.alpha_bar == 1:
            return self._observation
        is_fresh = self._recipe.draw == "fresh"
        if step.stage != self._stage or is_fresh:
            self._stage = step.stage
            noise = self._draw(step.alpha_bar, fresh=is_fresh)
            self._target = TARGETS[self._recipe.target](self._observation, step.alpha_bar, noise)
        return self._target

    def _draw(self, alpha_bar: float, *, fresh: bool) -> Tensor:
        shape, device = self._observation.shape, self._observation.device
        if fresh:
            return torch.randn(shape, generator=self._fresh, device=device)
        # The draw belongs to the level's rank, so that a control trains on its schedule's targets.
        generator = self._streams.generator(Stream.STAGE_NOISE, self._ranks[alpha_bar])
        return torch.randn(shape, generator=generator, device="cpu").to(device)
