"""Write the tables of three pages of the documentation from the JSON of the benchmarks.

They are docs/performance.md, docs/verification.md and docs/restore.md; tables stand between
marks. Run `python benchmarks/tables.py` after any benchmark; `--check` only tests whether the
pages are current. If a benchmark has no JSON, its table says that it is not measured.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from cells import spread, table
from restoring import classical, little_noise, stopping_rule, variance
from searching import analysis, driver, racing, scaling, suggest, whole_search

HERE = Path(__file__).parent
PAGES = [HERE.parent / f"docs/{name}.md" for name in ("performance", "verification", "restore")]
Content: TypeAlias = dict[str, Any]
GOALS = {"64/32/4": 2.5, "128/64/5": 3.0, "256/128/5": 3.5}
GPU_GOALS = {"512/128/5": 5, "128/128/5": 10}
INSIDE = {"dB": "±0.05 dB", "%": "±3 %"}
NAMES = {"max_psnr_gt_db": "max PSNR_GT", "steps_to_max": "steps to it"}


def ratios(row: Content, path: str) -> list[float]:
    """Return the speed of a path over that of the peer, block by block."""
    speeds = row["iterations_per_s"]
    return [a / b for a, b in zip(speeds[path], speeds["peer"], strict=True)]


def trainer(content: Content) -> list[str]:
    """Iterations a second beside the official loop."""
    rows = []
    for row in content["rows"]:
        scale = f"{row['size']}/{row['width']}/{row['scales']}"
        speeds = row["iterations_per_s"]
        cells = [
            f"{statistics.median(speeds[key]):.3g}" for key in ("peer", "fp32", "bf16", "auto")
        ]
        same = "yes" if all(row["same_bytes"].values()) else "no"
        rows.append([scale, str(row["threads"]), *cells, spread(ratios(row, "auto")),
                     str(GOALS.get(scale, "–")), same])  # fmt: skip
    columns = [
        "scale",
        "cores",
        "peer",
        "fp32",
        "bf16",
        "auto",
        "auto / peer",
        "goal",
        "same bytes",
    ]
    return table(columns, rows)


def profiles(content: Content) -> list[str]:
    """Time of `auto` by operation."""
    rows = [row for row in content["rows"] if "profile" in row]
    names = list(dict.fromkeys(name for row in rows for name in list(row["profile"])[:7]))
    scales = [f"{row['size']}/{row['width']}/{row['scales']}" for row in rows]
    return table(
        ["operation", *scales],
        [[f"`{name.removeprefix('aten::')}`",
          *(f"{100 * row['profile'].get(name, 0):.0f} %" for row in rows)] for name in names],
    )  # fmt: skip


def roofline(content: Content) -> list[str]:
    """Shortest possible time of an iteration, and the fraction of it that is reached."""
    rows = [
        [row["scale"], str(row["threads"]), row["precision"],
         f"{row['fp32_gflop_s']:.0f} / {row['bf16_gflop_s']:.0f}", f"{row['gb_s']:.1f}",
         f"{row['fp32_gflop']:.3g} / {row['bf16_gflop']:.3g}", f"{row['gb']:.3g}",
         f"{1000 * row['compute_s']:.3g}",
         f"{1000 * row['memory_s']:.3g}", f"{1000 * row['iteration_s']:.3g}",
         f"{100 * row['reached']:.0f} %"]
        for row in content["rows"]
    ]  # fmt: skip
    columns = ["scale", "cores", "precision", "GFLOP/s, fp32 / bf16", "GB/s",
               "GFLOP, fp32 / bf16", "GB", "compute (ms)", "memory (ms)", "iteration (ms)",
               "reached"]  # fmt: skip
    return table(columns, rows)


def scales(content: Content) -> list[str]:
    """One scale alone in fp32 over bf16."""
    rows = []
    for row in content["rows"]:
        gain = [a / b for a, b in zip(row["fp32_us"], row["bf16_us"], strict=True)]
        product = row["width"] * row["side"]
        rows.append([str(row["width"]), str(row["side"]), str(product), spread(gain)])
    return table(["width", "side", "width × side", "speed of bf16 / speed of fp32"], rows)


def compiled(content: Content) -> list[str]:
    """A compiled network against one that is not."""
    rows = []
    for row in content["rows"]:
        speeds = row["iterations_per_s"]
        ratio = [a / b for a, b in zip(speeds["compiled"], speeds["plain"], strict=True)]
        first = f"{row['first_iteration_s']:.0f}"
        rows.append([row["scale"], str(row["threads"]), row["precision"], spread(ratio), first])
    ratio_of_speeds = "speed compiled / not compiled"
    columns = ["scale", "cores", "precision", ratio_of_speeds, "first iteration (s)"]
    return table(columns, rows)


def packing(content: Content) -> list[str]:
    """Trainings side by side against one."""
    rows: list[list[str]] = []
    first: dict[str, Content] = {}
    for row in content["rows"]:
        base = first.setdefault(row["scale"], row)["iterations_per_s"]
        gain = [a / b for a, b in zip(row["iterations_per_s"], base, strict=True)]
        rows.append(
            [row["scale"], str(row["trainings"]), str(row["threads"]),
             f"{statistics.median(row['iterations_per_s']):.3g}", spread(gain),
             f"{row['memory_mb_each']:.0f}"]
        )  # fmt: skip
    return table(
        ["scale", "side by side", "threads each", "iterations/s in all", "gain", "MB each"], rows
    )


def precision(content: Content) -> list[str]:
    """Differences to fp32 over paired runs."""
    rows = [
        [f"{NAMES[row['key']]}, {row['output']}", f"{row['mean']:+.3f} {row['unit']}",
         f"{row['low']:+.3f} to {row['high']:+.3f}", INSIDE[row["unit"]]]
        for row in content["rows"]
    ]  # fmt: skip
    paths = ("fp32", content.get("asked", "auto"))
    trainings = [pair[path] for pair in content["pairs"] for path in paths]
    censored = sum(
        any(each[output]["censored"] for output in ("raw", "smoothed")) for each in trainings
    )
    said = (
        f"{content['scale']}, {'emulated ' * content.get('emulated', False)}{content['path']}, "
        f"{len({pair['picture'] for pair in content['pairs']})} pictures, "
        f"{len(content['pairs'])} pairs, at most "
        f"{content['iterations']:,} iterations; {censored} of {len(trainings)} trainings censored."
    )
    return [said, "", *table(["", "mean difference", "95 % interval", "goal: within"], rows)]


def gpu_speed(content: Content) -> list[str]:
    """Iterations a second beside the official loop."""
    paths = ("official loop", "fp32, no graph", "fp32", "tf32", "bf16")
    rows = []
    for row in content["speed"]:
        rates = row["iterations_per_s"]
        speeds = [f"{statistics.median(rates[p]):.3g}" if p in rates else "failed" for p in paths]
        gains = [spread(found) if (found := _gains(rates, p)) else "–" for p in ("fp32", "tf32")]
        rows.append([row["scale"], *speeds, *gains, str(GPU_GOALS.get(row["scale"], "–"))])
    measured = {row["scale"] for row in content["speed"]}
    rows += [[scale, *["not measured"] * 7, str(goal)] for scale, goal in GPU_GOALS.items()
             if scale not in measured]  # fmt: skip
    columns = ["scale", *paths, "fp32 / official", "tf32 / official", "goal"]
    said = f"Blocks: {max(map(len, content['speed'][0]['iterations_per_s'].values()), default=0)}."
    return [said, "", *table(columns, rows)]


def _gains(rates: dict[str, list[float]], path: str) -> list[float]:
    """Return the speed of a path over the official loop's, block by block; none if one failed."""
    return [
        a / b for a, b in zip(rates.get(path, []), rates.get("official loop", []), strict=False)
    ]


def gpu_checks(content: Content) -> list[str]:
    """Whether runs give the same bytes."""
    keys = [key for key, value in content["checks"][0].items() if isinstance(value, bool)]
    rows = [
        [row["scale"], row["precision"], *("yes" if row[key] else "no" for key in keys)]
        for row in content["checks"]
    ]
    return table(["scale", "precision", *keys], rows)


def gpu_together(content: Content) -> list[str]:
    """Trainings side by side."""
    rows = [
        [row["scale"], row["precision"], row["how"], f"{row['iterations_per_s']:.0f}"]
        for row in content["together"]
    ]
    return table(["scale", "precision", "side by side", "iterations/s in all"], rows)


def gpu_equivalence(content: Content) -> list[str]:
    """Differences to fp32 over paired runs."""
    rows = [
        [row["scale"], row["path"], f"{row['key']}, {row['output']}", str(row["n"]),
         f"{row['censored']} of {2 * row['n']}", f"{row['mean']:+.3f} {row['unit']}",
         f"{row['low']:+.3f} to {row['high']:+.3f}"]
        for row in content["equivalence"]
    ]  # fmt: skip
    columns = ["scale", "format", "", "pairs", "trainings censored", "mean difference",
               "95 % interval"]  # fmt: skip
    return table(columns, rows)


def stopping(content: Content) -> list[str]:
    """What ending held-out trainings early would change."""
    rows = [
        [str(row["wait"]), f"{100 * row['saved']:.0f} %",
         *(f"{row[output]['changed']} of {content['trainings']}, at most "
           f"{row[output]['most_db']:.3f} dB" for output in ("raw", "smoothed"))]
        for row in content["rows"]
    ]  # fmt: skip
    return table(
        ["wait", "iterations saved", "raw maxima changed", "smoothed maxima changed"], rows
    )


def decided(content: Content) -> list[str]:
    """What ending trainings once the smoothed maximum is decided would change."""
    rows = [
        [f"`{row['run']}`", _pictures(row), str(row["patience"]), _trainings(row),
         str(row["changed"]), f"{100 * row['saved']:.1f} %"]
        for row in content["test"]
    ]  # fmt: skip
    columns = ["run", "pictures", "patience", "trainings", "changed", "iterations saved"]
    return table(columns, rows)


def _pictures(row: Content) -> str:
    """Return the number of pictures, and whether the rule was fitted to them."""
    return f"{row['pictures']}{', of the fit' * (row['pictures_of_fit'] > 0)}"


def _trainings(row: Content) -> str:
    """Return the number of trainings, and of repeats that an older replay has counted."""
    repeats = row.get("repeats", 0)
    if repeats is None:
        return f"{row['trainings']}, repeats unknown"
    return f"{row['trainings']}{f', {repeats} of them repeats' * (repeats > 0)}"


def verdicts(content: Content, output: str) -> list[str]:
    """How often a claim is called better, for planted truths."""
    rows = content[output]["rows"]
    sizes = list(dict.fromkeys((row["pictures"], row["seeds"]) for row in rows))
    found = {(row["truth"], row["pictures"], row["seeds"]): row["better"] for row in rows}
    lines = [
        [truth, *(" / ".join(f"{100 * share:.1f}" for share in found[truth, *size].values())
                  for size in sizes)]
        for truth in dict.fromkeys(row["truth"] for row in rows)
    ]  # fmt: skip
    few, many = content["claims"]
    said = (
        f"Share (%) of {content['repetitions']:,} simulated verifications with the verdict "
        f"*better*, {output} output. The correction counts {few} claim before the slash and {many} "
        "after it. Columns are pictures × seeds. The curves are those of "
        f"{content[output]['schedules']} schedules on {content[output]['pictures']} pictures."
    )
    return [said, "", *table(["truth", *(f"{p} × {s}" for p, s in sizes)], lines)]


def samplers(content: Content) -> list[str]:
    """Hypervolume above plain DIP that each sampler reaches in replays of a recorded search."""

    def cell(intervals: Content, n: int) -> str:
        each = intervals.get(str(n))
        return f"{each['mean']:.1f} ± {each['high'] - each['mean']:.1f}" if each else "—"

    rows = [
        [name, str(row["repetitions"]), *(cell(row["found"], n) for n in (10, 20, 30, 60)),
         cell(row["less_default"], max(map(int, row["less_default"]))),
         "{} ({} to {})".format(*(n or f"> {len(row['found'])}0"
                                  for n in row["reaches_random_after"]))]
        for name, row in content["samplers"].items()
    ]  # fmt: skip
    columns = [
        "sampler",
        "searches",
        "10 trials",
        "20",
        "30",
        "60",
        "difference from `tpe` at the end",
    ]
    return table([*columns, "trials to `random`'s last value"], rows)


def report(content: Content) -> list[str]:
    """Times of opening a report of 500 trials."""
    rows = [[f"{content['bytes'] / 1e6:.2f} MB",
             *(spread(content[key]) for key in ("words_s", "front_s", "charts_s"))]]  # fmt: skip
    columns = ["size (goal 10 MB)", "words (s)", "front (s; goal 2)", "all charts (s)"]
    return table(columns, rows)


def goals(_: Content) -> list[str]:
    """The goals of speed and what was reached, from the files of several benchmarks."""

    def read(name: str) -> Content:
        content: Content = json.loads((HERE / f"{name}.json").read_text())
        return content

    rows = []
    for row in read("trainer-cpu")["rows"]:
        scale = f"{row['size']}/{row['width']}/{row['scales']}"
        reached = f"{statistics.median(ratios(row, 'auto')):.2f}"
        rows.append([f"speed over the official loop, {scale}, CPU", reached, str(GOALS[scale])])
    on_gpu = {row["scale"]: row["iterations_per_s"] for row in read("gpu").get("speed", [])}
    for scale, goal in GPU_GOALS.items():
        reached = "not measured"
        if gains := _gains(on_gpu.get(scale, {}), "fp32"):
            reached = f"{statistics.median(gains):.2f}"
        rows.append([f"speed over the official loop, {scale}, GPU", reached, str(goal)])
    repeats = read("whole-search")["repeats"]
    ratio = statistics.median(r["seconds"]["script"] / r["seconds"]["product"] for r in repeats)
    rows.append(["trials an hour over a user's script, quickstart", f"{ratio:.2f}", "4"])
    replays = [replay for row in read("racing")["rows"] if row["confidence"] == 0.9
               for replay in row["shuffled"]]  # fmt: skip
    for key, words, least in (("saved", "replicates saved by racing", "40 %"),
                              ("front_lost", "front lost by racing", "2 %")):  # fmt: skip
        mean = 100 * statistics.fmean(replay[key] for replay in replays)
        rows.append([words, f"{mean:.1f} %", least])
    for content in map(read, ("precision-64", "precision-128", "precision-64-bf16")):
        scale = content["scale"] + " throughout" * (content["asked"] == "bf16")
        for row in content["rows"]:
            words = f"{NAMES[row['key']]}, {row['output']}, {scale}"
            between = f"{row['low']:+.3f} to {row['high']:+.3f} {row['unit']}"
            rows.append([f"bf16 minus fp32 on a CPU: {words}", between, INSIDE[row["unit"]]])
    return table(["", "reached", "goal"], rows)


TABLES: dict[str, tuple[str, Callable[[Content], list[str]]]] = {
    "goals": ("", goals),
    "trainer": ("trainer-cpu", trainer),
    "profile": ("trainer-cpu", profiles),
    "roofline": ("roofline-cpu", roofline),
    "scales": ("scales", scales),
    "precision": ("precision-64", precision),
    "precision-large": ("precision-128", precision),
    "precision-throughout": ("precision-64-bf16", precision),
    "precision-large-emulated": ("precision-128-emulated", precision),
    "precision-other-pictures": ("precision-64-xeon", precision),
    "compiled": ("compiled", compiled),
    "packing": ("packing-cpu", packing),
    "gpu-checks": ("gpu", gpu_checks),
    "gpu-speed": ("gpu", gpu_speed),
    "gpu-together": ("gpu", gpu_together),
    "gpu-equivalence": ("gpu", gpu_equivalence),
    "driver": ("orchestration-driver", driver),
    "analysis": ("orchestration-analysis", analysis),
    "suggest": ("orchestration-suggest", suggest),
    "scaling": ("orchestration-scaling", scaling),
    "whole-search": ("whole-search", whole_search),
    "racing": ("racing", racing),
    "stopping": ("stopping", stopping),
    "decided": ("decided", decided),
    "variance": ("variance", variance),
    "stopping-rule": ("stopping-rule", stopping_rule),
    "little-noise": ("little-noise", little_noise),
    "classical": ("classical", classical),
    "verdicts-smoothed": ("verdict", lambda content: verdicts(content, "smoothed")),
    "verdicts-raw": ("verdict", lambda content: verdicts(content, "raw")),
    "report": ("report", report),
    "samplers": ("sampler", samplers),
}
"""For each mark on the page: the name of the JSON file, and the function that makes the table."""


def made(name: str) -> str:
    """Return a table, below a line with the hardware that it was measured on."""
    source, make = TABLES[name]
    if not source:
        return "\n".join(make({}))
    path = HERE / f"{source}.json"
    if not path.exists():
        return "Not measured."
    content = json.loads(path.read_text())
    content = {**content, **content.get("machine", {})}
    part = name.removeprefix("gpu-")
    if part != name and not content.get(part):
        return "Not measured."
    known = [
        "device", "hardware", "cores", "python", "torch", "cuda", "cudnn", "ray", "optuna", "peer",
    ]  # fmt: skip
    said = ", ".join(
        str(content[key]) if key in ("device", "hardware") else f"{key} {content[key]}"
        for key in known
        if content.get(key) not in (None, "cpu")
    )
    return "\n".join(
        [*make(content), "", f"<small>{said}; [raw](../benchmarks/{path.name})</small>"]
    )


def refreshed(page: str) -> str:
    """Return the page with new tables; KeyError for a mark without a table."""
    return re.sub(
        r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}{made(found[2])}\n{found[3]}",
        page,
        flags=re.DOTALL,
    )


def main() -> int:
    """Write the pages; with --check, return 1 if one differs from the JSON."""
    stale = [page for page in PAGES if refreshed(page.read_text()) != page.read_text()]
    if "--check" in sys.argv[1:]:
        return int(bool(stale))
    for page in stale:
        page.write_text(refreshed(page.read_text()))
        print(f"written to {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
