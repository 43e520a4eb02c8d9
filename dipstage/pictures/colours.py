"""Convert pixels from the colour profile of their file to sRGB."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SPACES = {b"RGB ": "RGB", b"GRAY": "grey", b"CMYK": "CMYK"}
"""Colour spaces of profiles, by bytes 16 to 20 of their header."""
_SRGB_STEPS = 1.0
"""Maximum distance of a profile that counts as sRGB, in steps of 8 bits."""
_SRGB_CHROMATICITIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
"""The x and y of white, red, green and blue."""


class UnusableProfileError(Exception):
    """A profile is damaged or of another colour space than the pixels."""


def profile_name(profile: bytes) -> str:
    """Return the description that a profile holds, on one short line."""
    from PIL import ImageCms

    try:
        text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except Exception:  # Little CMS and Pillow raise errors of many kinds.
        text = ""
    return "".join(filter(str.isprintable, text)).strip()[:60] or "without a name"


def to_srgb(pixels: NDArray[Any], profile: bytes) -> NDArray[np.uint16] | None:
    """Convert pixels to sRGB by a profile, with perceptual intent.

    Args:
        pixels: uint8 or uint16, (H, W) for grey, (H, W, 3) for RGB or (H, W, 4) for CMYK.
        profile: An ICC profile. One of RGB also applies to grey pixels.

    Returns:
        uint16 of the same shape, (H, W, 3) for CMYK; None if the profile is sRGB itself.

    Raises:
        UnusableProfileError: The profile is damaged or of another colour space.
    """
    import imagecodecs

    own = "grey" if pixels.ndim == 2 else "RGB" if pixels.shape[2] == 3 else "CMYK"
    space = _SPACES.get(profile[16:20])
    if space != own and (own, space) != ("grey", "RGB"):
        raise UnusableProfileError(f"it is for {space} pixels" if space else "it cannot be read")
    grey = own == "grey"
    try:
        if own != "CMYK" and _is_srgb(profile, grey and space != "RGB"):
            return None
        if grey and space == "RGB":
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        converted = _transformed(
            pixels, profile, {"grey": "gray"}.get(str(space), str(space).lower())
        )
    except imagecodecs.CmsError:
        raise UnusableProfileError("it cannot be read") from None
    return converted[..., 1] if grey else converted


def lab_to_srgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Convert (H, W, 3) of CIE L*a*b* relative to D50, with a and b offset by 128, to sRGB."""
    import imagecodecs

    return _transformed(pixels, imagecodecs.cms_profile("lab2"), "lab")


def _rgb_profile(gamma: float, chromaticities: tuple[float, ...]) -> bytes:
    """Return a profile by the gamma of a PNG and the x, y of white, red, green and blue.

    The profile of values that make no sense is empty.
    """
    import imagecodecs

    white, primaries = chromaticities[:2], chromaticities[2:]
    if not 0.1 <= gamma <= 10:
        return b""
    try:
        return bytes(
            imagecodecs.cms_profile("rgb", whitepoint=white, primaries=primaries, gamma=1 / gamma)
        )
    except imagecodecs.CmsError:
        return b""


def stated_profile(info: dict[str | tuple[int, int], Any], exif: Any) -> bytes | None:
    """Return the colour profile that a file holds or names, by what Pillow read of it."""
    if "icc_profile" in info:
        return info["icc_profile"] or b""
    if exif and exif.get_ifd(0xA005).get(1) == "R03":  # The Exif way to say Adobe RGB.
        import imagecodecs

        return bytes(imagecodecs.cms_profile("adobergb"))
    gamma, chromaticities = info.get("gamma", 1 / 2.2), info.get("chromaticity")
    near = chromaticities is None or np.allclose(chromaticities, _SRGB_CHROMATICITIES, atol=0.01)
    if "srgb" in info or (near and abs(gamma - 1 / 2.2) < 0.01):
        return None
    return _rgb_profile(gamma, chromaticities or _SRGB_CHROMATICITIES)


def _is_srgb(profile: bytes, grey: bool) -> bool:
    """Return whether a profile changes no colour by more than rounding."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    probe = levels[None] if grey else colours.reshape(len(levels), -1, 3)
    converted = _transformed(probe, profile, "gray" if grey else "rgb") / 257
    expected = probe[..., None] if grey else probe
    return bool(np.abs(converted - expected).max() <= _SRGB_STEPS)


def _transformed(pixels: NDArray[Any], profile: bytes, space: str) -> NDArray[np.uint16]:
    import imagecodecs

    converted: NDArray[np.uint16] = imagecodecs.cms_transform(
        np.ascontiguousarray(pixels),
        profile,
        imagecodecs.cms_profile("srgb"),
        colorspace=space,
        outcolorspace="rgb",
        outdtype="uint16",
        intent=imagecodecs.CMS.INTENT.PERCEPTUAL,
        # Little CMS 2.19 replaces 16-bit conversions by a coarse table, wrong by up to 19/255.
        flags=imagecodecs.CMS.FLAGS.NOOPTIMIZE,
    )
    return converted
