"""Tables of docs/performance.md about searches: their driver, commands, workers and results."""

from __future__ import annotations

import statistics
from typing import Any, TypeAlias

from cells import interval, spread, table

Content: TypeAlias = dict[str, Any]


def driver(content: Content) -> list[str]:
    """Cost of a trial for the driver."""
    rows = []
    for row in content["rows"]:
        memory = f"{row['memory_mb'][0]:.0f} to {row['memory_mb'][-1]:.0f}"
        if "cpu_ms" in row:
            first, last = row["cpu_ms"][0], row["cpu_ms"][-1]
            rows.append([row["part"], f"{first:.1f} at first, {last:.1f} at last", memory, "–"])
        else:
            rows.append([row["part"], f"{row['driver_cpu_ms']:.1f}", memory, "60 ms"])
    return table(["", "CPU time a trial (ms)", "memory (MB)", "goal"], rows)


def analysis(content: Content) -> list[str]:
    """Commands on recorded studies."""
    rows = [
        [f"`{row['command']}`", str(row["trials"]), spread(row["seconds"]),
         "0.5" if row["command"] == "--help" else "2"]
        for row in content["rows"]
    ]  # fmt: skip
    return table(["command", "trials", "seconds", "goal"], rows)


def suggest(content: Content) -> list[str]:
    """Time of a suggestion."""
    found: dict[str, dict[int, float]] = {}
    for row in content["rows"]:
        found.setdefault(row["sampler"], {})[row["trials"]] = statistics.median(row["ms"])
    counts = sorted({row["trials"] for row in content["rows"]})
    return table(
        ["sampler", *(f"at {count:,} trials (ms)" for count in counts)],
        [[name, *(f"{by[count]:.1f}" for count in counts)] for name, by in found.items()],
    )


def scaling(content: Content) -> list[str]:
    """Use of the workers."""
    goals = {1: "95 %", 4: "95 %", 16: "90 %", 64: "80 %"}
    rows = [
        [str(row["workers"]), str(row["trials"]), f"{100 * row['efficiency']:.1f} %",
         goals[row["workers"]], f"{row['trials_per_s']:.2f}", f"{row['driver_cpu_ms']:.0f}",
         f"{100 * row['driver_busy']:.0f} %", f"{100 * row['machine_busy']:.0f} %"]
        for row in content["rows"]
    ]  # fmt: skip
    columns = ["workers", "trials", "efficiency", "goal", "trials/s", "driver (ms a trial)",
               "driver's core busy", "machine busy"]  # fmt: skip
    return table(columns, rows)


def whole_search(content: Content) -> list[str]:
    """Searches by dipsearch beside those by the script, with the same sampler seeds."""
    repeats, ways = content["repeats"], ("product", "script")
    rows = []
    for repeat in repeats:
        scores = [repeat["retrained"][way] for way in ways]
        rows.append([
            str(repeat["seed"]),
            " / ".join(f"{repeat['seconds'][way]:.0f}" for way in ways),
            f"{repeat['seconds']['script'] / repeat['seconds']['product']:.2f}",
            " / ".join(str(len(front)) for front in scores),
            " / ".join(f"{max(psnr for psnr, _ in front):.2f}" for front in scores),
            " / ".join(f"{min(steps for _, steps in front):.0f}" for front in scores),
            " / ".join(f"{repeat['hypervolume'][way]:.0f}" for way in ways),
        ])  # fmt: skip
    columns = ["seed", "seconds", "ratio", "on the front", "best (dB)", "fewest steps",
               "hypervolume"]  # fmt: skip
    times = [r["seconds"]["script"] / r["seconds"]["product"] for r in repeats]
    gains = [r["hypervolume"]["product"] - r["hypervolume"]["script"] for r in repeats]
    mean, low, high = interval(gains)
    over = [100 * repeat["overhead"]["overhead"] for repeat in repeats]
    said = (
        f"In cells, product / script. {statistics.median(times):.2f} times the trials an hour "
        f"({min(times):.2f} to {max(times):.2f}, n = {len(repeats)}; goal 4). Hypervolume of the "
        f"product minus that of the script: {mean:+.0f}, 95 % interval {low:+.0f} to {high:+.0f} "
        f"(goal: not lower). Beside training, trials cost {min(over):.1f} to {max(over):.1f} % of "
        f"it (goal 3 %). Raced trials: {sum(repeat['raced'] for repeat in repeats)}."
    )
    return [*table(columns, rows), "", said]


def racing(content: Content) -> list[str]:
    """What racing saves and loses, in the recorded order and in shuffled ones."""
    names = {"racing-table": "TPE", "racing-table-random": "random"}
    columns = ["sampler", "confidence", "order", "replicates saved (goal 40 %)",
               "front lost (goal 2 %)", "trials raced", "hypervolume lost",
               "reported score minus true score"]  # fmt: skip
    rows = []
    for row in sorted(content["rows"], key=lambda row: (row["table"], row["confidence"])):
        confidence = f"{row['confidence']:.2f}"
        bold = f"**{confidence}**" if confidence == "0.90" else confidence
        for order, replays in (("recorded", [row["recorded"]]), ("shuffled", row["shuffled"])):
            saved, lost, raced = (
                _around([100 * replay[key] for replay in replays], 1)
                for key in ("saved", "front_lost", "raced")
            )
            area = _around([100 * replay["hypervolume_lost"] for replay in replays], 2)
            psnr = _around([replay["bias_psnr_db"] for replay in replays], 3)
            steps = _around([replay["bias_steps"] for replay in replays], 1)
            rows.append([names[row["table"]], bold, order, f"{saved} %", f"{lost} %",
                         f"{raced} %", f"{area} %", f"{psnr} dB, {steps} steps"])  # fmt: skip
    return table(columns, rows)


def _around(values: list[float], digits: int) -> str:
    """Return the mean and, of several values, the standard deviation."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{deviation}"
