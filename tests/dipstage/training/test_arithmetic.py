"""How a run computes: formats of numbers, and that a seed decides all."""

import sys
from dataclasses import replace
from subprocess import run as run_process

import numpy as np
import pytest
import torch

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.randomness import Streams
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.settings import TrainerSettings
from dipstage.tasks.denoise import observe
from dipstage.training import arithmetic, trainer
from dipstage.training.arithmetic import Arithmetic, Weights, choose
from dipstage.training.metrics import ssim
from dipstage.training.network import SkipNetwork
from dipstage.training.outcome import Outcome
from dipstage.training.trainer import fit

SETTINGS = TrainerSettings(width=8, scales=2, input_depth=4, precision="fp32")
CPU = torch.device("cpu")
switchable = pytest.mark.skipif(
    not hasattr(torch.backends.cudnn, "conv"), reason="fp32_precision came with PyTorch 2.9"
)


def _chosen(settings: TrainerSettings) -> Arithmetic:
    """For a picture of 64 × 64 on the CPU."""
    return choose(settings, CPU, 64, 64)


def train(iterations: int = 40, **changes: str) -> Outcome:
    """A short run of a small network."""
    picture = load_picture("skimage:astronaut", size=32, multiple=4)
    truth, streams = picture.tensor(), Streams(picture.digest, 0)
    schedule = parse_preset("log10").schedule(iterations)
    settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return fit(observe(truth, 25, streams), truth, schedule, settings, streams)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.long)])
def test_a_seed_decides_every_bit(precision: str) -> None:
    first, again = train(precision=precision), train(precision=precision)
    assert first.trace.csv() == again.trace.csv()
    assert np.array_equal(first.best_raw, again.best_raw)
    assert first.precision == precision
    assert first.summary()["precision"] == precision


@pytest.mark.long
def test_bf16_trains_as_fp32_does() -> None:
    exact, fast = train(150), train(150, precision="bf16")
    assert exact.raw
    assert fast.raw
    assert exact.trace.csv() != fast.trace.csv()
    # Of the first output, before any update: only rounding differs.
    assert fast.trace.loss[0] == pytest.approx(exact.trace.loss[0], rel=5e-3)
    assert fast.raw.max_psnr_gt_db == pytest.approx(exact.raw.max_psnr_gt_db, abs=1.0)


@pytest.mark.parametrize(("precision", "rounding"), [("fp32", 1e-5), ("bf16", 0.2)])
def test_gradients_of_the_views_are_the_network_s(precision: str, rounding: float) -> None:
    """Against the same network without views, laid out as PyTorch does."""
    plain, viewed = (
        SkipNetwork(
            TrainerSettings(width=6, scales=2, input_depth=4),
            generator=torch.Generator().manual_seed(3),
        )
        for _ in range(2)
    )
    x = torch.rand(1, 4, 64, 64, generator=torch.Generator().manual_seed(4))
    settings = replace(SETTINGS, precision=precision)  # type: ignore[arg-type]
    weights = Weights(viewed, _chosen(settings), CPU)
    weights.spread()
    plain(x).square().sum().backward()
    weights.gather(viewed(x.to(weights.dtype, memory_format=weights.layout)).square().sum())
    # Adam finds them in the order of the scales, bf16 or not, and the head's come last.
    parameters = [p for scale in plain.scales() for p in scale.own_parameters()]
    parameters += plain.head.parameters()
    expected = torch.cat(
        [weights.ordered(p.grad).flatten() for p in parameters if p.grad is not None]
    )
    assert weights.flat.grad is not None
    assert float((weights.flat.grad - expected).norm()) < rounding * float(expected.norm())
    # One update of the flat parameter reaches every layer.
    with torch.no_grad():
        weights.flat.add_(1)
    weights.spread()
    for one, other in zip(viewed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(
            one.detach().float(), other.detach() + 1, rtol=rounding, atol=rounding
        )


def test_bf16_keeps_updates_that_are_too_small_for_it() -> None:
    network = SkipNetwork(
        TrainerSettings(width=4, scales=1, input_depth=2), generator=torch.Generator()
    )
    weights = Weights(network, _chosen(replace(SETTINGS, precision="bf16", scales=1)), CPU)
    assert weights.flat.dtype is torch.float32
    before = weights.flat.detach().clone()
    with torch.no_grad():
        weights.flat.add_(1e-5)
    assert bool((weights.flat > before).all())
    weights.spread()
    assert next(network.body.parameters()).dtype is torch.bfloat16
    assert network.head.weight.dtype is torch.float32


def test_auto_goes_by_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = TrainerSettings()
    for known, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(arithmetic, "_multiplies_bf16", lambda known=known: known)
        assert choose(auto, CPU, 512, 512).precision == precision
        assert choose(auto, torch.device("cuda"), 512, 512).precision == "fp32"
        assert choose(replace(auto, precision="fp32"), CPU, 512, 512).precision == "fp32"


@pytest.mark.parametrize(
    ("width", "scales", "sides", "scales_in_bf16"),
    [(32, 4, (64, 64), 1), (32, 4, (32, 128), 1), (32, 4, (32, 64), 0), (64, 5, (128, 128), 3),
     (128, 5, (256, 256), 5), (128, 5, (512, 512), 5)],
)  # fmt: skip
def test_auto_takes_bf16_in_the_scales_that_are_large_enough(
    width: int, scales: int, sides: tuple[int, int], scales_in_bf16: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(arithmetic, "_multiplies_bf16", lambda: True)
    settings = TrainerSettings(width=width, scales=scales)
    assert choose(settings, CPU, *sides).bf16_scales == scales_in_bf16
    all_of_them = replace(settings, precision="bf16")
    assert choose(all_of_them, CPU, *sides).precision == "bf16"


@pytest.mark.long
def test_scales_of_one_network_compute_in_formats_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arithmetic, "_multiplies_bf16", lambda: True)
    monkeypatch.setattr(arithmetic, "BF16_PAYS", 8 * 32)
    mixed = train(precision="auto")
    assert mixed.precision == "bf16 in 1 of 2 scales"
    assert mixed.trace.csv() == train(precision="auto").trace.csv()
    others = [train(precision=precision).trace.csv() for precision in ("fp32", "bf16")]
    assert mixed.trace.csv() not in others
    assert mixed.trace.loss[0] == pytest.approx(train().trace.loss[0], rel=5e-3)


@pytest.mark.parametrize("bf16_scales", [0, 1, 2])
def test_every_weight_is_a_view_of_the_flat_parameter(bf16_scales: int) -> None:
    network = SkipNetwork(
        TrainerSettings(width=4, scales=2, input_depth=2), generator=torch.Generator()
    )
    before = [parameter.detach().clone() for parameter in network.parameters()]
    weights = Weights(network, Arithmetic(bf16_scales, 2), CPU)
    assert weights.flat.numel() == sum(parameter.numel() for parameter in before)
    assert [scale.dtype is torch.bfloat16 for scale in network.scales()] == [
        i < bf16_scales for i in range(2)
    ]
    with torch.no_grad():
        weights.flat.mul_(2)
    weights.spread()
    for now, then in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(now.detach().float(), 2 * then, rtol=1e-2, atol=0)


def test_other_words_are_refused() -> None:
    with pytest.raises(InputError, match="precision must be auto or fp32 or tf32 or bf16, got 'f"):
        replace(SETTINGS, precision="fast")  # type: ignore[arg-type]


def test_tf32_needs_a_gpu() -> None:
    with pytest.raises(
        InputError, match="precision tf32 needs a GPU: set it to auto, fp32 or bf16"
    ):
        train(precision="tf32")
    arithmetic = choose(replace(SETTINGS, precision="tf32"), torch.device("cuda"), 64, 64)
    assert (arithmetic.precision, arithmetic.tf32, arithmetic.bf16_scales) == ("tf32", True, 0)


@switchable
def test_scores_are_computed_in_fp32_while_a_gpu_trains_in_tf32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a CPU, with the settings of a GPU: at 10 bits, variances in SSIM would be wrong."""
    found: dict[str, set[str]] = {"network": set(), "ssim": set()}
    convolving, forward = Arithmetic.convolving, SkipNetwork.forward

    def seen(name: str) -> None:
        found[name].add(torch._C._get_fp32_precision_getter("cuda", "conv"))

    def watched_forward(self: SkipNetwork, x: torch.Tensor) -> torch.Tensor:
        seen("network")
        return forward(self, x)

    def watched_ssim(pictures: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        seen("ssim")
        return ssim(pictures, reference)

    monkeypatch.setattr(trainer, "choose", lambda *_: Arithmetic(0, 2, tf32=True))
    gpu = torch.device("cuda")
    monkeypatch.setattr(Arithmetic, "convolving", lambda self, device: convolving(self, gpu))
    monkeypatch.setattr(SkipNetwork, "forward", watched_forward)
    monkeypatch.setattr(trainer, "ssim", watched_ssim)
    train(2)
    assert found == {"network": {"tf32"}, "ssim": {"ieee"}}


@pytest.mark.long
@switchable
@pytest.mark.parametrize(
    "setting",
    [
        pytest.param("cudnn.benchmark = True", id="untouched"),
        "fp32_precision = 'ieee'",
        "fp32_precision = 'tf32'",
        "cudnn.fp32_precision = 'ieee'",
        "cudnn.conv.fp32_precision = 'ieee'",
        "cudnn.allow_tf32 = False",
    ],
)
def test_what_a_program_has_set_for_gpus_is_neither_used_nor_lost(setting: str) -> None:
    """In a process of its own, because the settings that PyTorch starts with cannot be restored."""
    program = f"""
import torch
from torch.backends import cudnn
from dipstage.training.arithmetic import Arithmetic

def settings():
    precision = torch._C._get_fp32_precision_getter("cuda", "conv")
    return precision, cudnn.benchmark, cudnn.deterministic

cudnn.benchmark = True
torch.backends.{setting}
before, generic = settings(), torch.backends.fp32_precision
torch.backends.fp32_precision = "ieee"
followed = settings()
torch.backends.fp32_precision = generic
assert settings() == before
for tf32 in (False, True):
    with Arithmetic(0, 1, tf32=tf32).convolving(torch.device("cuda")):
        precision, *kernels = settings()
        assert (precision == "tf32") is tf32, precision
        assert kernels == [False, True]
    assert settings() == before
torch.backends.fp32_precision = "ieee"
assert settings() == followed
"""
    run_process([sys.executable, "-W", "error", "-c", program], check=True)


@switchable
def test_what_a_program_has_set_for_cpus_is_neither_used_nor_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With bf16, convolutions would round on a CPU that multiplies it."""
    own = train(2)
    monkeypatch.setattr(torch.backends, "fp32_precision", "bf16")
    other = train(2)
    assert torch._C._get_fp32_precision_getter("mkldnn", "matmul") == "bf16"
    assert other.trace.csv() == own.trace.csv()
