"""Published schedules: files inside the package that were shown to be better than plain DIP.

`fast` names those that were shown to be faster, `best` those with a higher PSNR_GT. Which file is
taken depends on the size of the picture and on the noise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dipstage.arguments import check_number
from dipstage.errors import InputError
from dipstage.rounding import telling_digits
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.schedule_file import (
    Gain,
    Measured,
    Provenance,
    ScheduleFile,
    Verified,
    read_schedule_file,
)

ENDPOINTS: dict[str, str] = {"fast": "time", "best": "psnr"}
"""The endpoint in which a published schedule of each kind was shown to be better."""
FOLDER = Path(__file__).parents[1] / "published"
_NAME = re.compile(r"denoise-sigma(?P<sigma>\d+(?:\.\d+)?)-(?P<size>\d+)-(?P<kind>fast|best)")


@dataclass(frozen=True, slots=True)
class Published:
    """A published schedule with its evidence.

    Args:
        name: Name of its file, without the ending.
        file: What the file holds.
        measured: What the search measured it on.
        verified: Scores and verdict on held-out pictures.
        provenance: The run and trial that it comes from.

    Raises:
        InputError: The evidence does not show what the name says.
    """

    name: str
    file: ScheduleFile
    measured: Measured
    verified: Verified
    provenance: Provenance

    @classmethod
    def read(cls, path: Path) -> Published:
        """Read a published schedule.

        Args:
            path: A schedule file, named as `denoise-sigma25-64-fast.yaml`.

        Raises:
            InputError: The file cannot be read, or its evidence does not show what its name says.
        """
        file = read_schedule_file(path)
        if file.measured is None or file.verified is None or file.provenance is None:
            raise InputError(f"{path}: a published schedule needs measured, verified, provenance")
        try:
            return cls(path.stem, file, file.measured, file.verified, file.provenance)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def __post_init__(self) -> None:
        match = _NAME.fullmatch(self.name)
        if match is None:
            raise InputError(f"the name must be like denoise-sigma25-64-fast, got {self.name!r}")
        named = float(match["sigma"]), int(match["size"])
        if named != (self.measured.sigma_255, self.measured.size):
            raise InputError(
                f"the name must say sigma and size of measured, {self.measured.sigma_255:g} and "
                f"{self.measured.size}, got {self.name!r}"
            )
        if self.verified.seen:
            raise InputError("verified.seen must be empty: the search has used these pictures")
        verdict, endpoint = self.verified.verdict, ENDPOINTS[self.kind]
        if not verdict.startswith("better") or self.verified.endpoint != endpoint:
            raise InputError(
                f"{self.kind} needs the verdict better in {endpoint}, got {verdict!r} in "
                f"{self.verified.endpoint}"
            )

    @property
    def kind(self) -> str:
        """`fast` or `best`."""
        return self.name.rpartition("-")[2]

    def schedule(self, iterations: int | None = None, sigma_255: float | None = None) -> Schedule:
        """Return the schedule for a task: see `ScheduleFile.rescaled`.

        Args:
            iterations: The budget; None for the file's.
            sigma_255: Noise of the observation; None for the file's.
        """
        return self.file.rescaled(iterations, sigma_255)

    @property
    def evidence(self) -> str:
        """The verdict with its numbers, in one line."""
        verified, made = self.verified, self.provenance
        pictures, seeds = len(verified.images), len(verified.seeds)
        ratio = verified.time_ratio
        words = [f"time ratio {_with_interval(ratio, '', 1.0)}"] if ratio else []
        words.append(f"PSNR {_with_interval(verified.max_psnr_gt_db, '+', 0.0)} dB")
        if self.kind == "best":
            words.reverse()
        return (
            f"{self.name} (trial {made.trial} of {made.run}), {verified.verdict} than tuned plain "
            f"DIP on {pictures} held-out pictures × {seeds} seed{'s' * (seeds != 1)}: "
            f"{', '.join(words)} (95 % intervals, against {verified.against})"
        )

    def beyond(
        self, width: int, height: int, sigma_255: float, network: tuple[int, int],
        schedule: Schedule,
    ) -> str:  # fmt: skip
        """Return in which respects a run differs from what was verified.

        Args:
            width: Width of its picture in pixels.
            height: Height of its picture.
            sigma_255: Noise of its observation.
            network: Width and scales of its network.
            schedule: Its schedule.

        Returns:
            A sentence; empty where the run is as in the verification.
        """
        found = self.differences(width, height, sigma_255, network, schedule)
        if not found:
            return ""
        known, size = self.measured, self.measured.size
        return (
            f"not verified for {', '.join(found)}: the evidence is for {size} × {size} pixels, "
            f"sigma {known.sigma_255:g}, width {known.trainer.width}, {known.trainer.scales} "
            f"scales and a ramp of {self.file.schedule.ramp} iterations"
        )

    def in_short(self, differences: Sequence[str]) -> str:
        """Return in a line what was shown, and for which `differences` of a run it was not."""
        size, kind = self.measured.size, "faster" if self.kind == "fast" else "higher PSNR"
        words = (
            f"{kind} than plain DIP on {len(self.verified.images)} other pictures of {size} × "
            f"{size} pixels, sigma {self.measured.sigma_255:g}"
        )
        if not differences:
            return words
        *others, last = differences
        return f"{words}; not tested for {', '.join(others)}{' and ' * bool(others)}{last}"

    def differences(
        self, width: int, height: int, sigma_255: float, network: tuple[int, int],
        schedule: Schedule,
    ) -> list[str]:  # fmt: skip
        """Return in which respects a run differs from what was verified: see `beyond`."""
        known, size = self.measured, self.measured.size
        trainer, own = known.trainer, self.schedule(None, sigma_255)
        return [
            words
            for differs, words in (
                ((width, height) != (size, size), f"{width} × {height} pixels"),
                (sigma_255 != known.sigma_255, f"sigma {sigma_255:.3g}"),
                (
                    network != (trainer.width, trainer.scales),
                    "a network of width {} and {} scales".format(*network),
                ),
                (schedule.recipe != own.recipe, "another recipe"),
                (schedule.ramp != own.ramp, f"a ramp of {schedule.ramp} iterations"),
            )
            if differs
        ]


def _with_interval(gain: Gain, sign: str, none: float) -> str:
    """Return `mean [low, high]`; `none` is the number that stands for no difference."""
    mean = f"{gain.mean:{sign}.2f}"
    if gain.low is None or gain.high is None:
        return mean
    low, high = (f"{e:{sign}.{telling_digits(e, 2, none)}f}" for e in (gain.low, gain.high))
    return f"{mean} [{low}, {high}]"


def is_published(text: str) -> bool:
    """Return whether a text is `fast` or `best`, which name a published schedule."""
    return text in ENDPOINTS


def published(kind: str, size: int, sigma_255: float | None = None) -> Published:
    """Return the published schedule for the nearest size and noise.

    Distances are ratios: 128 is as near to 64 as to 256.

    Args:
        kind: `fast`, which was shown to be faster than tuned plain DIP, or `best`, with a higher
            PSNR_GT.
        size: Side of the picture in pixels; of a picture that is not square, the root of its area.
        sigma_255: Noise of the observation on the 0 … 255 scale; None, if it is unknown, for 25.

    Raises:
        InputError: There is no such kind, or nothing of it is published.
    """
    if kind not in tuple(ENDPOINTS):
        raise InputError(f"kind must be {' or '.join(ENDPOINTS)}, got {kind!r}")
    check_number("size", size)
    if sigma_255 is not None:
        check_number("sigma_255", sigma_255)
    if not (0 < size < math.inf and 0 <= (sigma_255 or 0) < math.inf):
        raise InputError(
            f"size must be above 0 and sigma_255 not negative, got {size} and {sigma_255}"
        )
    found = _nearest((kind,), size, sigma_255)
    if found is None:
        raise InputError(
            f"no schedule is published as {kind} yet: name a preset such as log10, or a schedule "
            "file"
        )
    return found


def nearest_published(size: int, sigma_255: float | None = None) -> Published | None:
    """Return the published schedule for the nearest size and noise, `best` before `fast`.

    Args:
        size: As in `published`.
        sigma_255: As in `published`.

    Returns:
        The schedule; None if nothing is published.
    """
    return _nearest(("best", "fast"), size, sigma_255)


def _nearest(kinds: Sequence[str], size: int, sigma_255: float | None) -> Published | None:
    noise = 25.0 if sigma_255 is None else sigma_255

    def distance(path: Path) -> tuple[float, int, str]:
        match = _NAME.fullmatch(path.stem)
        assert match is not None
        sizes = math.log(size / int(match["size"]))
        noises = math.log(max(noise, 1.0) / max(float(match["sigma"]), 1.0))
        return abs(sizes) + abs(noises), kinds.index(match["kind"]), path.stem

    paths = [
        p for p in FOLDER.glob("*.yaml") if (m := _NAME.fullmatch(p.stem)) and m["kind"] in kinds
    ]
    return Published.read(min(paths, key=distance)) if paths else None
