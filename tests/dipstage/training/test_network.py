"""The recipe's network: its size, its shapes, its weights."""

from typing import Any

import pytest
import torch

from dipstage.schedules.settings import TrainerSettings
from dipstage.training.metrics import psnr_db
from dipstage.training.network import SkipNetwork


def generator(seed: int = 0) -> torch.Generator:
    """A fresh generator."""
    return torch.Generator().manual_seed(seed)


def parameter_count(network: torch.nn.Module) -> int:
    """The number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_default_network_has_the_recipe_s_number_of_parameters() -> None:
    assert parameter_count(SkipNetwork(TrainerSettings(), generator=generator())) == 2_217_831


@pytest.mark.parametrize("scales", [1, 3, 5])
@pytest.mark.parametrize("sides", [(1, 1), (1, 4), (3, 2)])
def test_any_side_that_is_a_multiple_of_2_to_the_scales_trains(
    scales: int, sides: tuple[int, int]
) -> None:
    height, width = (side * 2**scales for side in sides)
    network = SkipNetwork(
        TrainerSettings(width=6, scales=scales, input_depth=5), generator=generator()
    )
    output = network(torch.rand((1, 5, height, width), generator=generator()))
    assert output.shape == (1, 3, height, width)
    output.square().mean().backward()
    assert all(
        p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in network.parameters()
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("width", 7),
        ("skip_channels", 2),
        ("input_depth", 9),
        ("first_width", 3),
        ("down_kernel", 5),
        ("pointwise", False),
        ("skip_channels", 0),
    ],
)
def test_every_option_changes_the_network(option: str, value: int) -> None:
    options: dict[str, Any] = {
        "width": 6,
        "scales": 2,
        "skip_channels": 4,
        "input_depth": 5,
    }
    changed = TrainerSettings(**{**options, option: value})
    network, plain = (
        SkipNetwork(each, generator=generator()) for each in (changed, TrainerSettings(**options))
    )
    output = network(torch.rand((1, changed.input_depth, 16, 16), generator=generator()))
    assert output.shape == (1, 3, 16, 16)
    assert parameter_count(network) != parameter_count(plain)


def test_weights_come_from_the_generator_and_the_global_one_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    a, b, c = (
        torch.cat(
            [
                p.flatten()
                for p in SkipNetwork(
                    TrainerSettings(width=8, scales=2), generator=generator(seed)
                ).parameters()
            ]
        )
        for seed in (0, 0, 1)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_have_the_spread_of_pytorch_s_own_convolutions() -> None:
    network = SkipNetwork(TrainerSettings(), generator=generator())
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    for conv in (c for c in convolutions if c.weight.numel() > 1000):
        own = torch.nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size[0])
        assert float(conv.weight.detach().std()) == pytest.approx(
            float(own.weight.detach().std()), rel=0.1
        )


@pytest.mark.long
def test_the_network_can_fit_a_picture() -> None:
    network = SkipNetwork(TrainerSettings(width=16, scales=2, input_depth=8), generator=generator())
    fixed = torch.rand((1, 8, 32, 32), generator=generator())
    target = torch.rand((1, 3, 32, 32), generator=generator(1)).cumsum(-1) / 32
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (network(fixed) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert float(psnr_db(loss.detach())) > 25


def test_nearest_upsampling_repeats_pixels() -> None:
    """One scale with weights that pass a channel through shows the interpolation itself."""
    both = [
        SkipNetwork(
            TrainerSettings(width=4, scales=1, skip_channels=0, input_depth=3, upsampling=kind),
            generator=generator(),
        )
        for kind in ("nearest", "bilinear")
    ]
    x = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(1))
    seen = []
    for network in both:
        network.body.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        network(x)
    nearest, bilinear = seen
    assert torch.equal(nearest[..., ::2, ::2], nearest[..., 1::2, 1::2])
    assert not torch.equal(bilinear[..., ::2, ::2], bilinear[..., 1::2, 1::2])
