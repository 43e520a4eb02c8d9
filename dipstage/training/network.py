"""The skip network of Deep Image Prior (arXiv 1711.10925, denoising)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from dipstage import padding
from dipstage.schedules.settings import TrainerSettings


class _BatchNorm(nn.Module):
    """Batch norm with the statistics of the batch, also for channels of a single pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, device="cpu"))
        self.bias = nn.Parameter(torch.zeros(channels, device="cpu"))

    def forward(self, x: Tensor) -> Tensor:
        # torch.nn.functional.batch_norm refuses single pixels, which a picture of side
        # 2 ** scales has at its coarsest scale; their variance is 0 and the output is the bias.
        return torch.batch_norm(
            x, self.weight, self.bias, None, None, True, 0.0, 1e-5, torch.backends.cudnn.enabled
        )


class _Block(nn.Module):
    """Convolution with reflection padding, batch norm, LeakyReLU 0.2.

    Batch norm takes off whatever bias the convolution adds, and its gradient is 0 but for rounding.
    A GPU leaves the bias out, because each addition and each gradient is a kernel of its own.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.pad = kernel // 2
        self.conv = _conv(inputs, outputs, kernel, stride)
        self.norm = _BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = padding.reflect(x, self.pad)
        if padding.is_on_gpu(x):
            y = F.conv2d(x, self.conv.weight, stride=self.conv.stride)
        else:
            y = self.conv(x)
        return F.leaky_relu(self.norm(y), 0.2, inplace=True)


class _TwiceAsLarge(torch.autograd.Function):
    """Bilinear up-sampling by 2 whose gradient is the same bytes each time, also on a GPU.

    The gradient is that of the output with its edges repeated, filtered with the weights of the
    interpolation, (1, 3, 3, 1) / 4 in each direction, at every second place. These weights are
    those of a sum and two means of neighbours, one after the other.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _bilinear(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        padded = F.pad(gradients[0].float(), (1, 1, 1, 1), mode="replicate")
        sums = F.avg_pool2d(padded, 2, 1, divisor_override=1)
        return F.avg_pool2d(F.avg_pool2d(sums, 2, 1), 2).to(gradients[0].dtype)


def _bilinear(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class _Scale(nn.Module):
    """One scale: a skip branch, and a branch that goes down, through the next scale, and up."""

    def __init__(
        self, settings: TrainerSettings, inputs: int, width: int, deeper: _Scale | None
    ) -> None:
        super().__init__()
        skip_channels, kernel = settings.skip_channels, settings.down_kernel
        self.upsampling, self.width = settings.upsampling, width
        self.skip = _Block(inputs, skip_channels, 1) if skip_channels else None
        self.down = nn.Sequential(
            _Block(inputs, width, kernel, stride=2), _Block(width, width, kernel)
        )
        self.deeper = deeper
        merged = skip_channels + (width if deeper is None else deeper.width)
        self.norm = _BatchNorm(merged)
        self.up = nn.Sequential(_Block(merged, width, 3))
        if settings.pointwise:
            self.up.append(_Block(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        if self.deeper is not None:
            y = self.deeper(y.to(self.deeper.dtype)).to(y.dtype)
        if self.upsampling == "nearest":
            y = F.interpolate(y, scale_factor=2, mode="nearest")
        else:
            y = _TwiceAsLarge.apply(y) if padding.is_on_gpu(y) else _bilinear(y)  # type: ignore[no-untyped-call]
        if self.skip is not None:
            y = torch.cat([self.skip(x), y], dim=1)
        z: Tensor = self.up(self.norm(y))
        return z

    @property
    def dtype(self) -> torch.dtype:
        """Number format of this scale; scales of one network may differ."""
        return self.norm.weight.dtype

    def own_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of this scale, without those of deeper scales."""
        deeper = set() if self.deeper is None else set(self.deeper.parameters())
        return [parameter for parameter in self.parameters() if parameter not in deeper]


class SkipNetwork(nn.Module):
    """Encoder–decoder with skip connections (arXiv 1711.10925).

    It maps (1, input_depth, H, W), H and W multiples of 2 ** scales, to (1, output_channels, H, W)
    in (0, 1). The weights are drawn from `generator` alone, with the distribution of PyTorch's own
    convolutions: Kaiming uniform with a = sqrt(5).

    Args:
        settings: Widths, scales, skip connections, filters and interpolation.
        output_channels: Channels of the picture.
        generator: Source of the initial weights.
    """

    def __init__(
        self, settings: TrainerSettings, *, output_channels: int = 3, generator: torch.Generator
    ) -> None:
        super().__init__()
        widths = settings.widths
        body: _Scale | None = None
        for inputs, width in zip(
            reversed((settings.input_depth, *widths[:-1])), reversed(widths), strict=True
        ):
            body = _Scale(settings, inputs, width, body)
        assert body is not None
        self.body = body
        self.head = _conv(widths[0], output_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                _initialise(module, generator)

    def scales(self) -> list[_Scale]:
        """Return the scales from fine to coarse."""
        found: list[_Scale] = []
        scale: _Scale | None = self.body
        while scale is not None:
            found.append(scale)
            scale = scale.deeper
        return found

    def forward(self, x: Tensor) -> Tensor:
        """See the class. The head computes on fp32, also where the other layers are in bf16."""
        return torch.sigmoid(self.head(self.body(x).float()))


def fixed_input(settings: TrainerSettings, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return the input that is fixed during a run.

    Args:
        settings: `input`: noise is uniform in [0, 0.1), and a meshgrid is x and y from 0 to 1.
        shape: (1, input_depth, H, W).
        generator: Source of the noise.
    """
    if settings.input == "noise":
        return 0.1 * torch.rand(shape, generator=generator, device="cpu")
    y, x = (torch.linspace(0, 1, side, device="cpu") for side in shape[2:])
    return torch.stack(torch.meshgrid(x, y, indexing="xy"))[None]


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution without drawing its weights, so that no global generator is touched."""
    conv: nn.Conv2d = skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d, inputs, outputs, kernel, stride=stride, device="cpu"
    )
    return conv


def _initialise(conv: nn.Conv2d, generator: torch.Generator) -> None:
    fan_in = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
    bound = 1 / math.sqrt(fan_in)
    nn.init.uniform_(conv.weight, -bound, bound, generator=generator)
    if conv.bias is not None:
        nn.init.uniform_(conv.bias, -bound, bound, generator=generator)
