"""Restore noisy photographs in five formats as a person does, and write docs/restore.md's figure.

Pictures of scikit-image get noise of sigma 25, are written as files and restored by
`dipstage restore`, which is told nothing but what it prints. The clean pictures only score.
`--check` only tests whether the table of the page is current.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from cells import table
from machine import machine, write
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dipstage import Streams, load_picture, observe
from dipstage.pictures.photographs import Photograph, load_photograph

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "benchmarks/restore.json"
PAGE = ROOT / "docs/restore.md"
FIGURE = ROOT / "docs/images/restored-photographs.webp"
SIZE, SIGMA_255 = 128, 25.0
OPTIONS = ("--yes", "--threads", "1")
FILES = {
    "astronaut": ("png", 8),
    "chelsea": ("png", 16),
    "coffee": ("jpg", 8),
    "camera": ("tif", 16),
    "rocket": ("webp", 8),
}
"""Format and bits in which each picture is noisy."""
_MARKS = re.compile(r"(<!-- numbers -->\n).*?(<!-- end -->)", re.DOTALL)


def psnr_db(picture: NDArray[Any], clean: NDArray[Any]) -> float:
    """PSNR of (H, W, C) pixels in [0, 1]."""
    return float(-10 * np.log10(np.mean((picture - clean.astype(np.float64)) ** 2)))


def restored(name: str, folder: Path) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Restore one picture; what was measured, and noisy, restored, compared and clean pixels."""
    ending, bits = FILES[name]
    picture = load_picture(f"skimage:{name}", size=SIZE, multiple=1)
    truth = picture.tensor()
    noisy = observe(truth, SIGMA_255, Streams(picture.digest, 0))
    pixels = [np.moveaxis(each[0].numpy(), 0, -1) for each in (noisy, truth)]
    photo = folder / f"{name}.{ending}"
    photo.write_bytes(Photograph(photo.name, pixels[0], bits).encoded(photo))
    command = [sys.executable, "-m", "dipstage", "restore", str(photo), "--compare", *OPTIONS]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    print(name, done.stdout, sep="\n", flush=True)
    rows = {line[:16].strip(): line.split()[-1] for line in done.stdout.splitlines() if line}
    clean = pixels[1]
    shown = [load_photograph(str(photo)).pixels]
    if shown[0].shape[2] != clean.shape[2]:
        clean = np.repeat(clean, 3, axis=2)  # WebP has no grey.
    for suffix in ("restored", "restored-non-local-means"):
        shown.append(load_photograph(str(folder / f"{name}-{suffix}.{ending}")).pixels)
    found = re.search(r"stopped: (.*)\n(\d+) iterations in ([\d.]+) s", done.stdout)
    assert found is not None
    sigma = re.search(r"noise: sigma ([\d.]+)", done.stdout)
    schedule = re.search(r"schedule: ([\w-]+)", done.stdout)
    assert sigma is not None
    assert schedule is not None
    return {
        "picture": name,
        "format": ending,
        "bits": bits,
        "sigma_255": float(sigma[1]),
        "schedule": schedule[1],
        "why": found[1],
        "iterations": int(found[2]),
        "wall_s": float(found[3]),
        "non_local_means_s": float(rows["non-local means"]),
        "psnr_db": [round(psnr_db(each, clean), 2) for each in shown],
    }, [*shown, clean]


def figure(columns: list[tuple[dict[str, Any], list[NDArray[Any]]]]) -> Figure:
    """One column for each picture: noisy, restored, non-local means, clean."""
    drawn = Figure(figsize=(8, 6.9), layout="constrained")
    panels = drawn.subplots(4, len(columns))
    for column, (row, shown) in enumerate(columns):
        words = ["noisy", "dipstage restore", "non-local means", "clean"]
        for axes, pixels, word, psnr in zip(
            panels[:, column], shown, words, [*row["psnr_db"], None], strict=True
        ):
            axes.imshow(np.clip(pixels.squeeze(), 0, 1), cmap="gray", vmin=0, vmax=1)
            axes.set_title(word + ("" if psnr is None else f"\n{psnr:.2f} dB"), fontsize=8)
            axes.set_axis_off()
    return drawn


def refreshed(page: str) -> str:
    """Return the page with the table of the numbers that are kept."""
    rows: list[list[str]] = []
    higher = 0
    content = json.loads(NUMBERS.read_text())
    for row in content["rows"]:
        noisy, own, classical = row["psnr_db"]
        higher += own > classical
        rows.append(
            [row["picture"], f"{row['format']}, {row['bits']} bits", f"{row['sigma_255']:.1f}",
             f"{noisy:.2f}", f"{own:.2f}", f"{classical:.2f}", str(row["iterations"]),
             f"{row['wall_s']:.0f}"]
        )  # fmt: skip
    columns = [
        "picture", "file", "estimated sigma", "noisy (dB)", "`dipstage restore` (dB)",
        "non-local means (dB)", "iterations", "time (s)",
    ]  # fmt: skip
    chosen = {row["schedule"]: None for row in content["rows"] if "schedule" in row}
    schedule = f", which chose the schedule `{', '.join(chosen)}`" if chosen else ""
    options = content["machine"]["options"]
    said = (
        f"The command was `dipstage restore PHOTO --compare {options}`{schedule}. On "
        f"{higher} of these {len(rows)} pictures, `dipstage restore` has a higher PSNR than "
        "non-local means; on the others, non-local means has the higher PSNR."
    )
    made = "\n".join([*table(columns, rows), "", *textwrap.wrap(said, 118, break_on_hyphens=False)])
    return _MARKS.sub(lambda found: f"{found[1]}{made}\n{found[2]}", page)


def main() -> int:
    """Measure, draw and write the table."""
    if "--check" in sys.argv:
        return int(refreshed(PAGE.read_text()) != PAGE.read_text())
    with tempfile.TemporaryDirectory() as folder:
        columns = [restored(name, Path(folder)) for name in FILES]
    about = machine(size=SIZE, sigma_255=SIGMA_255, options=" ".join(OPTIONS))
    write({"machine": about, "rows": [row for row, _ in columns]}, NUMBERS)
    figure(columns).savefig(FIGURE, dpi=150, pil_kwargs={"quality": 88, "method": 6})
    PAGE.write_text(refreshed(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
