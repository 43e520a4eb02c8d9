"""The networks of the official examples of Deep Image Prior, as settings of the trainer.

They are those of the notebooks in github.com/DmitryUlyanov/deep-image-prior, named after the
notebook and the picture, with their numbers of iterations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from dipstage.documents.records import from_plain
from dipstage.errors import InputError
from dipstage.schedules.settings import TrainerSettings

EXAMPLES: dict[str, TrainerSettings] = {
    "denoising": TrainerSettings(iterations=3000),
    "inpainting-kate": TrainerSettings(
        iterations=6001, skip_channels=128, upsampling="nearest", input_noise_std=0.03
    ),
    "inpainting-vase": TrainerSettings(
        iterations=5001,
        skip_channels=0,
        upsampling="nearest",
        input="meshgrid",
        input_depth=2,
        input_noise_std=0.03,
    ),
    "inpainting-library": TrainerSettings(
        iterations=3001,
        first_width=16,
        scales=6,
        skip_channels=0,
        upsampling="nearest",
        down_kernel=5,
        pointwise=False,
        input_depth=1,
        input_noise_std=0.0,
    ),
    "restoration-barbara": TrainerSettings(
        iterations=11000, learning_rate=0.001, input_noise_std=0.03
    ),
    "super-resolution": TrainerSettings(iterations=2000, input_noise_std=0.03),
}

NETWORK = (
    "width", "first_width", "scales", "skip_channels", "upsampling", "down_kernel", "pointwise",
    "input", "input_depth",
)  # fmt: skip
"""Settings that describe the network. An example gives these, the learning rate and the input
noise."""


def example(name: str) -> TrainerSettings:
    """Return the settings of an official example.

    Args:
        name: One of `EXAMPLES`.

    Raises:
        InputError: There is no such example.
    """
    if name not in tuple(EXAMPLES):  # A file may give a list, which a dictionary cannot look up.
        raise InputError(f"example must be one of {', '.join(EXAMPLES)}, got {name!r}")
    return EXAMPLES[name]


def settings_of(content: Any) -> TrainerSettings:
    """Read settings of the trainer; `example` names those that are taken where a key is left out.

    Args:
        content: Keys and values, as in experiment files.

    Raises:
        InputError: A key or a value is wrong; the message names it.
    """
    if isinstance(content, Mapping) and "example" in content:
        given = {key: value for key, value in content.items() if key != "example"}
        base = example(content["example"])
        content = {**{field.name: getattr(base, field.name) for field in fields(base)}, **given}
    return from_plain(TrainerSettings, content, {})
