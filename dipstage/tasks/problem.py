"""The protocol of tasks, and of the problems that they pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor, device

    from dipstage.randomness import Streams


class Problem(Protocol):
    """One measurement to be explained by a picture.

    Targets of stages are made from the observation, so they lie in its domain.
    """

    @property
    def observation(self) -> Tensor:
        """The measurement: (1, C, h, w) float32 in [0, 1]."""
        ...

    @property
    def picture(self) -> Tensor:
        """The observation as a picture, without restoration: (1, C, H, W) float32 in [0, 1]."""
        ...

    def to(self, where: device) -> Problem:
        """Return the problem with its tensors on a device."""
        ...

    def measured(self, pictures: Tensor) -> Tensor:
        """Return what would be measured of pictures without noise.

        Args:
            pictures: (N, C, H, W) float32.

        Returns:
            (N, C, h, w) float32, comparable with the observation.
        """
        ...

    def restricted(self, target: Tensor) -> Tensor:
        """Return the part of a target that was measured: (1, C, h, w) float32."""
        ...


class Task(Protocol):
    """What is measured of a picture, by which operator and with which noise.

    A task is plain data, as it stands in experiment files: it imports no torch until it is used.
    """

    kind: ClassVar[str]

    @property
    def noise_255(self) -> float:
        """Standard deviation of the observation's noise on the 0 to 255 scale, not negative."""
        ...

    def observe(self, truth: Tensor, streams: Streams) -> Problem:
        """Measure a ground truth.

        Args:
            truth: (1, C, H, W) float32 in [0, 1].
            streams: Random streams of the replicate, for noise and masks.

        Raises:
            InputError: The picture does not suit the task.
        """
        ...
