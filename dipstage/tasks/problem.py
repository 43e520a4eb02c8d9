"""The protocol of tasks, and of the problems that they pose."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from dipstage.arguments import check_kind, check_pixels
from dipstage.errors import InputError
from dipstage.schedules.settings import SSIM_WINDOW, TrainerSettings

if TYPE_CHECKING:
    from torch import Tensor, device

    from dipstage.randomness import Streams


class Problem(Protocol):
    """One measurement to be explained by a picture.

    Targets of stages are made from the observation, so they lie in its domain.
    """

    @property
    def observation(self) -> Tensor:
        """The measurement: (1, C, h, w) float32, in [0, 1] unless the task does not clip it."""
        ...

    @property
    def picture(self) -> Tensor:
        """The observation as a picture, without restoration: (1, C, H, W) float32 in its range."""
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


def on(where: device, tensor: Tensor) -> Tensor:
    """Return a tensor on a device, of which gradients can be taken: see `torch.inference_mode`."""
    moved = tensor.to(where)
    return moved.clone() if moved.is_inference() else moved


class Task(Protocol):
    """The degradation that the network has to undo: an operator, such as a mask, and noise.

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


@runtime_checkable
class ReadsFiles(Protocol):
    """A task some of whose values name files.

    files: Names of the fields that hold a path or None.
    """

    files: ClassVar[tuple[str, ...]]

    def loaded(self, size: int | None, multiple: int) -> Task:
        """Return a task that needs its files no more, so that workers anywhere can use it.

        Args:
            size: Side to which pictures are cropped and resized; None if they are only cropped.
            multiple: Number of which the sides of pictures are a multiple.

        Raises:
            InputError: A file cannot be read or does not suit the pictures.
        """
        ...


def check_observed(truth: Tensor, streams: Streams) -> None:
    """Raise InputError unless a task can measure a picture.

    Args:
        truth: (1, C, H, W) float32 in [0, 1].
        streams: Random streams of the replicate.
    """
    from dipstage.randomness import Streams

    check_pixels("ground_truth", truth)
    if truth.ndim != 4:
        raise InputError(f"ground_truth must have the shape (1, C, H, W), got {tuple(truth.shape)}")
    check_kind("streams", streams, Streams, "write Streams(picture.digest, seed)")


def check_problem(problem: Problem, truth: Tensor | None, settings: TrainerSettings) -> None:
    """Raise InputError unless a network can be trained on a problem, and its outputs scored.

    Args:
        problem: What was measured.
        truth: (1, C, H, W), or None if there is none.
        settings: The network.
    """
    measured, shape = tuple(problem.observation.shape), tuple(problem.picture.shape)
    if len(measured) != 4 or measured[0] != 1:
        raise InputError(f"observation must have the shape (1, C, H, W), got {measured}")
    if truth is not None and tuple(truth.shape) != shape:
        raise InputError(
            f"ground_truth must have the observation's shape {shape}, got {tuple(truth.shape)}"
        )
    if any(side % settings.multiple or side < SSIM_WINDOW for side in shape[2:]):
        raise InputError(
            f"sides must be multiples of {settings.multiple} (2 ** scales) and at least "
            f"{SSIM_WINDOW}, got {shape[2]} × {shape[3]}"
        )
