"""Checks of what is handed to the Python interface. Each costs little and is made once."""

from __future__ import annotations

import math
import re
from numbers import Integral, Real
from typing import Any

from dipstage.errors import InputError

_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?", re.ASCII)


def check_whole(name: str, value: Any, least: int | None = None) -> None:
    """Raise InputError unless a value is a whole number, no less than `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} must be a whole number, got {value!r:.80}")
    if least is not None and value < least:
        raise InputError(f"{name} must be at least {least}, got {value}")


def check_number(name: str, value: Any) -> None:
    """Raise InputError unless a value is a number; its range is for the caller to check."""
    if isinstance(value, bool) or not isinstance(value, Real):
        hint = point_for_comma(value)
        raise InputError(f"{name} must be a number, got {value!r:.80}{hint}")


def built_in(value: Any) -> Any:
    """Return a number, text or truth value of NumPy as Python's own, which YAML and JSON hold."""
    if isinstance(value, Real) and not isinstance(value, bool):
        return int(value) if isinstance(value, Integral) else float(value)
    return value.item() if getattr(value, "shape", None) == () else value


def point_for_comma(given: Any) -> str:
    """Say how to write what is a number but for its decimal comma; empty for all else."""
    text = given.strip(" ") if isinstance(given, str) else ""
    may_be_thousands = re.fullmatch(r"[-+]?[1-9]\d{0,2},\d{3}", text)
    if may_be_thousands or not _DECIMAL_COMMA.fullmatch(text):
        return ""
    return f": write {text.replace(',', '.')}"


def check_flag(name: str, value: Any) -> None:
    """Raise InputError unless a value is True or False."""
    if not isinstance(value, bool):
        raise InputError(f"{name} must be True or False, got {value!r:.80}")


def as_tuple(name: str, values: Any) -> tuple[Any, ...]:
    """Return several values as a tuple; InputError if it is a single one."""
    try:
        return tuple(values)
    except TypeError:
        raise InputError(f"{name} must be several, got a {type(values).__name__}") from None


def check_text(name: str, value: Any) -> None:
    """Raise InputError unless a value is a text."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be a text, got a {type(value).__name__}")


def check_kind(name: str, value: Any, kind: type, made_by: str) -> None:
    """Raise InputError unless a value is of a class; `made_by` says how one gets it."""
    if not isinstance(value, kind):
        raise InputError(
            f"{name} must be a {kind.__name__}, got a {type(value).__name__}: {made_by}"
        )


def check_function(name: str, value: Any) -> None:
    """Raise InputError unless a value can be called; None is for what was not given."""
    if value is not None and not callable(value):
        raise InputError(f"{name} must be a function, got a {type(value).__name__}")


def is_object_with(value: Any, *names: str) -> bool:
    """Return whether a value has these attributes and is no class, which lacks its brackets."""
    return not isinstance(value, type) and all(hasattr(value, name) for name in names)


def check_pixels(name: str, pixels: Any, *, bounded: bool = True) -> None:
    """Raise InputError unless it is a tensor of finite floats, and in [0, 1] if `bounded`."""
    import torch

    if torch.get_default_dtype() != torch.float32:
        raise InputError(
            f"PyTorch's default type is {torch.get_default_dtype()}, and training needs float32: "
            "call torch.set_default_dtype(torch.float32)"
        )
    check_kind(name, pixels, torch.Tensor, "see torch.from_numpy")
    if not pixels.is_floating_point():
        raise InputError(
            f"{name} must be floats in [0, 1], got {pixels.dtype}: divide by its largest value"
        )
    if pixels.dtype != torch.float32:
        raise InputError(f"{name} must be float32, got {pixels.dtype}: convert it by its float()")
    if pixels.is_meta:
        raise InputError(f"{name} is on the device meta, which holds no values: move it to cpu")
    if pixels.requires_grad:
        raise InputError(f"{name} requires a gradient, and none is taken: pass its detach()")
    if not pixels.numel():
        raise InputError(f"{name} has no pixels: its shape is {tuple(pixels.shape)}")
    low, high = (float(end) for end in pixels.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{name} has pixels that are not finite: replace them")
    if bounded and not (low >= 0 and high <= 1):
        raise InputError(f"{name} must lie in [0, 1], {outside(low, high, 'its clamp(0, 1)')}")


def outside(low: float, high: float, clip: str) -> str:
    """Say from where to where values reach that leave [0, 1], and how to `clip` a small excess."""
    remedy = f": clip them by {clip}" if low >= -0.1 and high <= 1.1 else ""
    # Rounded, the excess of 1.0000001 is not seen.
    return f"got values from {low:g} to {high!r}{remedy}"
