"""Networks of the official examples: their layers, by the code of the official notebooks."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.renamed import FormerName
from dipstage.schedules.examples import EXAMPLES, NETWORK, example, settings_of
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.settings import TrainerSettings
from dipstage.tasks.inpaint import Inpaint
from dipstage.training.memory import estimated_bytes
from dipstage.training.network import SkipNetwork, fixed_input
from dipstage.training.trainer import fit

# (down, up, skip, filter_size_down, need1x1_up, input_depth) of the notebooks.
OFFICIAL = {
    "denoising": ([128] * 5, [128] * 5, [4] * 5, 3, True, 32),
    "inpainting-kate": ([128] * 5, [128] * 5, [128] * 5, 3, True, 32),
    "inpainting-vase": ([128] * 5, [128] * 5, [0] * 5, 3, True, 2),
    "inpainting-library": (
        [16, 32, 64, 128, 128, 128], [16, 32, 64, 128, 128, 128], [0] * 6, 5, False, 1,
    ),
    "restoration-barbara": ([128] * 5, [128] * 5, [4] * 5, 3, True, 32),
    "super-resolution": ([128] * 5, [128] * 5, [4] * 5, 3, True, 32),
}  # fmt: skip


def convolutions(name: str) -> list[tuple[int, ...]]:
    """Shapes of all convolutions as `models/skip.py` makes them, and of the last one."""
    down, up, skip, kernel, pointwise, inputs = OFFICIAL[name]
    shapes = [(3, up[0], 1, 1)]
    for i in range(len(down)):
        deeper = up[i + 1] if i < len(down) - 1 else down[i]
        if skip[i]:
            shapes.append((skip[i], inputs, 1, 1))
        shapes += [(down[i], inputs, kernel, kernel), (down[i], down[i], kernel, kernel)]
        shapes.append((up[i], skip[i] + deeper, 3, 3))
        if pointwise:
            shapes.append((up[i], up[i], 1, 1))
        inputs = down[i]
    return sorted(shapes)


def test_all_examples_are_checked() -> None:
    assert OFFICIAL.keys() == EXAMPLES.keys()


def test_the_defaults_are_those_of_denoising_but_for_the_iterations() -> None:
    assert replace(EXAMPLES["denoising"], iterations=2000) == TrainerSettings()


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_example_has_the_layers_of_the_official_code(name: str) -> None:
    network = SkipNetwork(EXAMPLES[name], generator=torch.Generator().manual_seed(0))
    found = [tuple(p.shape) for p in network.parameters() if p.dim() == 4]
    assert sorted(found) == convolutions(name)
    upsampling = "nearest" if name.startswith("inpainting") else "bilinear"
    assert {scale.upsampling for scale in network.scales()} == {upsampling}
    assert EXAMPLES[name].learning_rate == (0.001 if name == "restoration-barbara" else 0.01)


def test_a_meshgrid_is_the_coordinates_of_the_pixels() -> None:
    settings = replace(TrainerSettings(), input="meshgrid", input_depth=2)
    made = fixed_input(settings, torch.Size([1, 2, 3, 5]), torch.Generator())
    official = np.meshgrid(np.arange(5) / 4.0, np.arange(3) / 2.0)
    assert np.allclose(made[0].numpy(), np.stack(official))
    with pytest.raises(InputError, match="input meshgrid needs input_depth 2, got 32"):
        TrainerSettings(input="meshgrid")


@pytest.mark.long
@pytest.mark.parametrize("name", ["inpainting-kate", "inpainting-vase", "inpainting-library"])
def test_a_narrow_example_learns_to_fill_holes(name: str) -> None:
    settings = replace(
        EXAMPLES[name],
        width=8,
        scales=2,
        skip_channels=min(EXAMPLES[name].skip_channels, 8),
        first_width=min(EXAMPLES[name].first_width, 4),
        precision="fp32",
    )
    picture = load_picture("skimage:chelsea", size=32, multiple=4)
    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    problem = Inpaint(missing=0.5).observe(truth, streams)
    outcome = fit(problem, truth, Schedule.plain(80), settings, streams)
    assert outcome.trace.psnr_gt_raw_db[-1] > outcome.trace.psnr_gt_raw_db[0] + 3


def test_compile_of_older_files_is_read_without_effect() -> None:
    for value in ("auto", "off"):
        assert settings_of({"width": 32, "compile": value}) == TrainerSettings(width=32)
    with pytest.warns(FormerName, match="compile has no effect: networks are no longer compiled"):
        assert settings_of({"compile": "on"}) == TrainerSettings()


def test_files_name_an_example_and_change_what_they_give() -> None:
    settings = settings_of({"example": "inpainting-library", "iterations": 600})
    assert settings == replace(EXAMPLES["inpainting-library"], iterations=600)
    assert settings_of({"width": 32}) == TrainerSettings(width=32)
    with pytest.raises(InputError, match=r"example must be one of denoising, .*, got 'inpaint'"):
        example("inpaint")
    with pytest.raises(InputError, match=r"example must be one of .*, got \['inpaint'\]"):
        settings_of({"example": ["inpaint"]})
    with pytest.raises(InputError, match="unknown key widht"):
        settings_of({"example": "denoising", "widht": 3})


def test_an_example_gives_its_network_learning_rate_and_input_noise_alone() -> None:
    """`dipstage run --example` leaves everything else to the schedule file."""
    given = {*NETWORK, "learning_rate", "input_noise_std", "iterations"}
    rest = [each.name for each in fields(TrainerSettings) if each.name not in given]
    for official in EXAMPLES.values():
        assert [getattr(official, n) for n in rest] == [getattr(TrainerSettings(), n) for n in rest]


def test_wide_skip_connections_take_memory_and_a_narrow_start_saves_it() -> None:
    plain, kate, library = (
        estimated_bytes(EXAMPLES[f"{name}"], 256, 256)
        for name in ("denoising", "inpainting-kate", "inpainting-library")
    )
    assert kate > plain > library
