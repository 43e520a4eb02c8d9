"""Tables of docs/restore.md, which `tables.py` writes."""

from __future__ import annotations

import math
import statistics
from typing import Any, TypeAlias

from cells import table

Content: TypeAlias = dict[str, Any]


def losses(row: Content) -> list[str]:
    """PSNR_GT lost, raw and smoothed, as median / 95th percentile / maximum, and the end."""
    lost = []
    for output in ("raw", "smoothed"):
        numbers = (row[output][f"{name}_db"] for name in ("median", "p95", "most"))
        lost.append(" / ".join(f"{number:.2f}" for number in numbers))
    return [*lost, f"{row['smoothed']['median_iterations']:.2f}"]


def variance(content: Content) -> list[str]:
    """What stopping at the minimum of the variance costs."""
    rows = []
    for run in content["runs"]:
        for row in run["rows"]:
            equal_db = row["equal_db"]
            rows.append(
                [f"{run['size']} × {run['size']}", row["schedule"], str(row["trainings"]),
                 *losses(row), str(row["not_found"]), str(row["cut"]), f"{row['psnr_db']:.2f}",
                 f"{row['iterations']:.0f}", "–" if equal_db is None else f"{equal_db:.2f}"]
            )  # fmt: skip
    columns = ["size", "schedule", "trainings", "lost, raw (dB)", "lost, smoothed (dB)",
               "end / steps to max", "no minimum", "cut", "PSNR_GT (dB)", "iterations",
               "PSNR_GT at equal iterations (dB)"]  # fmt: skip
    return table(columns, rows)


def stopping_rule(content: Content) -> list[str]:
    """Candidates for the rule that stops without a ground truth, over the kinds of schedules."""
    used = "fitted within 0.3 dB, patience 150"
    best_wmv = next(row["rule"] for row in content["rows"] if row["rule"].startswith("wmv"))
    shown = (content["chosen"], f"emv, {used}", best_wmv, f"wmv, {used}", "emv, 200 ignored",
             "emv, 300 ignored", "emv, 400 ignored")  # fmt: skip
    rows = []
    for name in dict.fromkeys(shown):
        kinds = [row for row in content["rows"] if row["rule"] == name]
        losses = [
            [row[output][f"{what}_db"] for row in kinds]
            for output in ("raw", "smoothed")
            for what in ("median", "p95")
        ]
        ends = [row["smoothed"]["median_iterations"] for row in kinds]
        rows.append([name, *(f"{max(each):.2f}" for each in losses), f"{max(ends):.2f}",
                     str(sum(row["not_found"] for row in kinds))])  # fmt: skip
    columns = ["rule", "raw, median (dB)", "raw, p95 (dB)", "smoothed, median (dB)",
               "smoothed, p95 (dB)", "end / steps to max", "no minimum"]  # fmt: skip
    return table(columns, rows)


def little_noise(content: Content) -> list[str]:
    """PSNR_GT with the schedule's own budget, and with the budget that grows as noise falls."""
    found = {(row["size"], row["sigma_255"], row["power"]): row for row in content["rows"]}
    rows = []
    for size, sigma_255 in dict.fromkeys(key[:2] for key in sorted(found)):
        own, longer = (found[size, sigma_255, power] for power in (0.0, 0.5))
        cells = [
            f"{row['psnr_db']:.2f} ({row['end']:.0f}, better on {row['better']})"
            for row in (own, longer)
        ]
        lost = f"{longer['lost_db']:.2f} / {longer['most_lost_db']:.2f}"
        rows.append([f"{size} × {size}", f"{sigma_255:g}", f"{own['estimated_255']:.1f}",
                     str(own["trainings"]), f"{own['noisy_db']:.2f}",
                     f"{own['classical_db']:.2f}", *cells, lost])  # fmt: skip
    columns = ["size", "sigma", "estimated", "pictures", "noisy (dB)", "classical (dB)",
               "own budget (dB)", "budget in use (dB)", "lost (dB)"]  # fmt: skip
    return table(columns, rows)


def classical(content: Content) -> list[str]:
    """Classical methods beside `dipstage restore`: means over pictures, and where each is best."""
    names = ("dipstage restore", "non-local means", "wavelets")
    rows = []
    for size in dict.fromkeys(row["size"] for row in content["rows"]):
        found = [row for row in content["rows"] if row["size"] == size]
        cells = [f"{size} × {size}", str(len(found)),
                 f"{statistics.mean(row['noisy_db'] for row in found):.2f}"]  # fmt: skip
        is_whole = all(len(row["methods"]) == len(names) for row in found)
        best = [max(names, key=lambda name: _psnr_db(row, name)) for row in found]
        for name in names:
            each = [row["methods"][name] for row in found if name in row["methods"]]
            if len(each) < len(found):
                cells.append("not measured")
                continue
            mean_db = statistics.mean(one["psnr_db"] for one in each)
            mean_s = statistics.mean(one["wall_s"] for one in each)
            where = f", best on {best.count(name)}" if is_whole else ""
            seconds = f"{mean_s:.0f}" if mean_s >= 10 else f"{mean_s:.2g}"
            cells.append(f"{mean_db:.2f} ({seconds} s{where})")
        rows.append(cells)
    return table(["size", "pictures", "noisy (dB)", *(f"{name} (dB)" for name in names)], rows)


def _psnr_db(row: Content, name: str) -> float:
    return float(row["methods"].get(name, {}).get("psnr_db", -math.inf))
