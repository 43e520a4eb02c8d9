"""Denoise pictures by `dipstage restore` and by classical methods, at two sizes, and compare.

    python benchmarks/classical.py --pictures data

None of the pictures is used by a verification. Each gets noise of sigma 25, which all methods take
as `dipstage restore` estimates it. The network and the schedule are those that it chooses. What is
in the file of results is not measured again; `--methods classical` leaves out the network.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine, write
from restore import psnr_db

from dipstage import Streams, load_picture, observe, restore
from dipstage.pictures.photographs import Photograph
from dipstage.restoration.choosing import estimated_sigma_255
from dipstage.restoration.classical import classical

SIZES, SIGMA_255, MULTIPLE = (64, 128), 25.0, 32
PICTURES = (
    "F16.png", "House.png", "kodim03.png", "bsd/108005.png", "bsd/163085.png", "bsd/295087.png",
    "bsd/304074.png", "skimage:astronaut", "skimage:coffee",
)  # fmt: skip
"""Pictures that the search of `fast` did not use."""
NETWORK = "dipstage restore"
REPETITIONS = 5
"""Classical methods are timed by the shortest of so many repetitions."""


def measured(row: dict[str, Any], name: str, with_network: bool) -> dict[str, Any]:
    """Return the row of a picture at a size with what was missing."""
    picture = load_picture(name, size=row["size"], multiple=MULTIPLE)
    truth = picture.tensor()
    noisy, clean = (
        np.ascontiguousarray(each[0].movedim(0, -1).numpy())
        for each in (observe(truth, SIGMA_255, Streams(picture.digest, 0)), truth)
    )
    sigma_255 = estimated_sigma_255(noisy)
    methods = row.setdefault("methods", {})
    row |= {"sigma_255": sigma_255, "noisy_db": psnr_db(noisy, clean)}
    if "wavelets" not in methods:
        for _ in range(REPETITIONS):
            for method, (made, seconds) in classical(Photograph(name, noisy), sigma_255).items():
                least = min(seconds, methods.get(method, {}).get("wall_s", seconds))
                methods[method] = {"psnr_db": psnr_db(made, clean), "wall_s": least}
    if with_network and NETWORK not in methods:
        restored = restore(noisy)
        methods[NETWORK] = {
            "psnr_db": psnr_db(restored.picture, clean),
            "wall_s": sum(outcome.wall_s for outcome in restored.outcomes),
            "iterations": restored.iterations,
            "schedule": restored.schedule_name,
            "why": restored.why,
        }
    print(row, flush=True)
    return row


def main() -> None:
    """Measure what is missing, after each picture written."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pictures", type=Path, default=Path("data"))
    arguments.add_argument("--methods", choices=["all", "classical"], default="all")
    arguments.add_argument("--output", type=Path, default=Path("benchmarks/classical.json"))
    given = arguments.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    if given.output.exists():
        rows = json.loads(given.output.read_text())["rows"]
    known = {(row["picture"], row["size"]): row for row in rows}
    about = machine(sigma_255=SIGMA_255)
    for size in SIZES:
        for picture in PICTURES:
            row = known.setdefault((picture, size), {"picture": picture, "size": size})
            name = picture if ":" in picture else str(given.pictures / picture)
            measured(row, name, given.methods == "all")
            write({"machine": about, "rows": list(known.values())}, given.output)


if __name__ == "__main__":
    main()
