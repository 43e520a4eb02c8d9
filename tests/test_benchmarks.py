"""The documentation holds what the benchmarks' raw numbers say, and nothing older."""

import csv
import gzip
import importlib.util
import json
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dipstage.schedules.settings import TrainerSettings
from dipstage.schedules.stopping import VarianceMinimum
from dipstage.training import arithmetic

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that writes the tables."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks/tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_tables_are_made_of_the_numbers_that_are_kept(tables: ModuleType) -> None:
    marks = []
    for path in tables.PAGES:
        page = path.read_text()
        assert tables.refreshed(page) == page, f"{path.name}: run python benchmarks/tables.py"
        assert not re.search(r"[A-Z]+_WORDS", page)
        marks += re.findall(r"<!-- table: ([a-z-]+) -->", page)
    assert sorted(marks) == sorted(tables.TABLES)


def test_a_changed_number_changes_the_page(tables: ModuleType) -> None:
    page = "<!-- table: packing -->\nold\n<!-- end -->\n"
    assert "old" not in tables.refreshed(page)
    assert "64/32/4" in tables.refreshed(page)


def test_measurements_that_are_too_small_are_shown_with_what_misses_the_goal(
    tables: ModuleType,
) -> None:
    emulated, other = map(tables.made, ("precision-large-emulated", "precision-other-pictures"))
    assert "13 of 40 trainings censored" in emulated
    assert "| steps to it, raw | -0.056 % | -3.312 to +3.200 | ±3 % |" in emulated
    assert "4 pictures, 32 pairs, at most 900 iterations; 0 of 64 trainings censored" in other
    assert "| steps to it, raw | -0.922 % | -7.071 to +5.226 | ±3 % |" in other


def test_every_script_is_on_the_page_of_the_benchmarks() -> None:
    page = (ROOT / "benchmarks/README.md").read_text()
    for path in (ROOT / "benchmarks").glob("*.py"):
        assert f"`{path.name}`" in page, path.name


def test_the_table_of_restored_photographs_is_made_of_its_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    script = importlib.import_module("restore")
    page = script.PAGE.read_text()
    assert script.refreshed(page) == page, "run python benchmarks/restore.py"
    assert "| astronaut | png, 8 bits |" in page


@pytest.fixture
def precision(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that compares number formats by pairs of trainings."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("precision")


def test_pairs_are_added_only_to_those_of_the_same_measurement(
    precision: ModuleType, tmp_path: Path
) -> None:
    path, content = tmp_path / "precision.json", {"hardware": "one", "iterations": 9, "load": 0.1}
    assert precision.resumed(path, content) == []
    precision.keep(path, content | {"path": "bf16", "rows": []}, pairs := [{"seed": 0}])
    assert precision.resumed(path, content | {"load": 2.0}) == pairs
    for other in ({"hardware": "two"}, {"iterations": 10}, {"emulated": True}):
        with pytest.raises(SystemExit, match="of another machine or measurement"):
            precision.resumed(path, content | other)


def test_more_pairs_begin_with_the_fewer(precision: ModuleType) -> None:
    few, more = (list(islice(precision.all_jobs([Path("a"), Path("b")]), n)) for n in (5, 8))
    assert more[:5] == few
    assert [few[0], few[4]] == [("a", "baseline", 0), ("a", "baseline", 1)]
    assert len({*more}) == 8


def test_emulated_bf16_rounds_a_convolution_and_its_gradients_once(precision: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 32, 16, 16, generator=generator).to(torch.bfloat16).requires_grad_()
    along = torch.randn(1, 8, 14, 14, generator=generator).to(torch.bfloat16)
    layer = nn.Conv2d(32, 8, 3)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -0.06, 0.06, generator=generator)
    layer.to(torch.bfloat16)

    def results(y: torch.Tensor) -> list[torch.Tensor]:
        return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], along.to(y.dtype))]

    emulated = results(precision.convolved(layer, x))
    assert (emulated[0] == layer(x)).double().mean() > 0.999  # PyTorch's own convolution of bf16
    assert {each.dtype for each in emulated} == {torch.bfloat16}
    layer, x = layer.double(), x.detach().double().requires_grad_()
    for ours, exact in zip(emulated, results(layer(x)), strict=True):
        assert (ours == exact.to(torch.bfloat16)).double().mean() > 0.999


@pytest.fixture
def variance(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that replays the rule which stops without a ground truth."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("variance")


def training(variance: ModuleType, minimum: int, length: int, fitted: int) -> Any:
    """A training whose PSNR_GT peaks at iteration 100 at 30 dB, 0.01 dB above its neighbours."""
    at = np.arange(length)
    psnr_gt = (30 - 0.01 * np.abs(at - 100)).astype(np.float32)
    curves = {
        "variance_emv": (1 + np.abs(at - minimum)).astype(np.float32),
        "psnr_raw_db": np.where(at < fitted, 15, 20.2).astype(np.float32),
        "psnr_gt_raw_db": psnr_gt,
        "psnr_gt_smoothed_db": psnr_gt,
    }
    rule = VarianceMinimum("emv", 50, 10, 20.0, 1000)
    return variance.Recorded(curves, 0, 0.9, rule)


def test_the_replay_takes_what_the_rule_selects_and_counts_the_wait(variance: ModuleType) -> None:
    found = variance.stopped(training(variance, 80, 400, 0), 400)
    assert found.lost_db == pytest.approx({"raw": 0.2, "smoothed": 0.05}, abs=1e-4)
    assert (found.end, found.found, found.is_cut) == (131, True, False)
    assert found.waited["raw"] == 131 / 101
    late = variance.stopped(training(variance, 80, 400, 130), 400)
    assert late.lost_db["raw"] == pytest.approx(0.3, abs=1e-4), "fitted at 130, and rising"


def test_the_replay_takes_a_power_function_average_as_late_as_its_outputs_are_old(
    variance: ModuleType,
) -> None:
    recorded = training(variance, 80, 400, 0)
    recorded = replace(recorded, gamma=4.0, averaged=range(1, 401))
    assert recorded.taken() == ({"raw": 80, "smoothed": 100}, True)


def test_a_training_that_ends_before_the_rule_counts_with_the_greater_loss(
    variance: ModuleType,
) -> None:
    cut = variance.stopped(training(variance, 380, 400, 0), 500)
    assert (cut.end, cut.found, cut.is_cut) == (400, False, True)
    assert cut.lost_db == pytest.approx({"raw": 2.99, "smoothed": 2.99}, abs=1e-4)
    row = variance.row("plain", [cut], [])
    assert (row["cut"], row["not_found"], row["equal_db"]) == (1, 0, None)
    whole = variance.row("plain", [variance.stopped(training(variance, 380, 400, 0), 400)], [29.0])
    assert (whole["cut"], whole["not_found"], whole["equal_db"]) == (0, 1, 29.0)


def test_a_longer_budget_is_replayed_where_there_is_less_noise(variance: ModuleType) -> None:
    """At sigma 6.25 with the square root, twice the budget of the published schedule."""
    script = importlib.import_module("little_noise")
    curves = training(variance, 2900, 3000, 0).curves
    curves["psnr_gt_smoothed_db"] = np.linspace(20, 40, 3000, dtype=np.float32)
    kept = script.Kept(64, 5.0, 6.25, 34.0, 35.0, curves)
    own = script.chosen(64, 6.25).schedule.iterations
    for power, budget in ((0.0, own), (0.5, 2 * own), (1.0, 3000)):
        ended = kept.ended(power)
        assert ended["end"] == min(budget, 3000)
        assert ended["psnr_db"] == curves["psnr_gt_smoothed_db"][min(budget, 2900 + 101) - 1]
        assert ended["lost_db"] == pytest.approx(40 - ended["psnr_db"])


def test_a_rule_that_waits_too_long_is_not_chosen(
    variance: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = importlib.import_module("stopping_rule")
    kinds = [{"smoothed": {"p95_db": loss, "median_iterations": 1.3}} for loss in (0.2, 0.7, 0.4)]
    assert script.worst_db(kinds) == 0.7
    kinds[2]["smoothed"]["median_iterations"] = 1.41
    assert script.worst_db(kinds) == np.inf
    names = [name for name, _ in script.candidates()]
    assert len(names) == len(set(names)) == 38


def record(run: Path, name: str, delay: int, from_db: float, peak: int) -> None:
    """Write curves that rise to 30 dB; the average begins at `from_db` and is highest at `peak`."""
    at = np.arange(500)
    smoothed = (30 - 0.01 * np.abs(at - peak)).astype(np.float32)
    smoothed[:40] = from_db
    curves: dict[str, Any] = {
        "psnr_gt_raw_db": (30 - 0.01 * np.abs(at - delay)).astype(np.float32),
        "psnr_gt_smoothed_db": smoothed,
        "stage": np.zeros(500, dtype=np.int16),
    }
    (run / "curves").mkdir(parents=True, exist_ok=True)
    np.savez(run / f"curves/{name}.npz", **curves)


def written(monkeypatch: pytest.MonkeyPatch, script: ModuleType, *words: str | Path) -> Any:
    """Run a script and return what it writes."""
    output = Path(words[-1])
    monkeypatch.setattr("sys.argv", ["script", *map(str, words[:-1]), "--output", str(output)])
    script.main()
    return json.loads(output.read_text())


def test_trainings_that_repeat_another_one_count_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    stopping, decided = map(importlib.import_module, ("stopping", "decided"))
    fit, run = tmp_path / "fit", tmp_path / "run"
    record(fit, "trial00000-bridge-seed0", 100, 5, 150)
    record(run, "trial00000-bridge-seed0", 100, 5, 150)
    record(run, "trial00001-bridge-seed0", 100, 6, 150)  # The same, averaged later.
    record(run, "trial00002-bridge-seed0", 100, 5, 180)  # Another average.
    record(run, "trial00000-a-harbour-seed0", 120, 5, 150)
    ends = written(monkeypatch, stopping, run, "--hardware", "one", tmp_path / "stopping.json")
    assert (ends["trainings"], ends["pictures"]) == (3, 2)
    monkeypatch.setattr(decided, "LEAST", 1)
    rows = written(
        monkeypatch, decided, "--fit", fit, "--test", run, "--hardware", "one",
        tmp_path / "decided.json",
    )["test"]  # fmt: skip
    counted = [(row["trainings"], row["pictures"], row["pictures_of_fit"]) for row in rows]
    assert counted == [(1, 1, 1), (1, 1, 1), (3, 2, 1), (3, 2, 1)]


def published(run: str) -> list[dict[str, str]]:
    """The published scores of a run's trainings."""
    path = ROOT / "experiments/results" / run.partition("/")[0] / "replicates.csv.gz"
    with gzip.open(path, "rt", newline="") as file:
        return [row for row in csv.DictReader(file) if row["run"] == run]


def repeats(rows: list[dict[str, str]]) -> int:
    """How many trainings have the scores of another one, and its steps to the smoothed maximum."""
    keys = ["picture", "seed", "raw_max_psnr_gt_db", "raw_steps_to_max", "raw_final_psnr_gt_db",
            "smoothed_steps_to_max"]  # fmt: skip
    return len(rows) - len({tuple(row[key] for key in keys) for row in rows})


def test_replays_whose_curves_are_gone_say_what_the_published_scores_say() -> None:
    page = (ROOT / "docs/performance.md").read_text()
    ends, decided = (
        json.loads((ROOT / f"benchmarks/{name}.json").read_text())
        for name in ("stopping", "decided")
    )
    verification = published("denoise-128/verification")
    on_gpu = [row for row in verification if row["device"] in ends["hardware"]]
    assert (ends["trainings"], ends["repeats"]) == (len(on_gpu), repeats(on_gpu)) == (144, 28)
    assert f"a CPU ({len(verification) - len(on_gpu)})" in decided["hardware"]
    pictures = {row["run"]: {each["picture"] for each in published(row["run"])}
                for row in decided["test"]}  # fmt: skip
    assert ends["pictures"] == len(pictures["denoise-128/verification"])
    for row in decided["test"]:
        rows, own = published(row["run"]), pictures[row["run"]]
        of_fit = len(own & pictures["denoise-64"])
        assert (row["pictures"], row["pictures_of_fit"]) == (len(own), of_fit)
        if row.get("repeats", 0) is not None:
            assert (row["trainings"], row.get("repeats", 0)) == (len(rows), repeats(rows))
    unseen = {name for own in pictures.values() for name in own} - pictures["denoise-64"]
    for n in (ends["pictures"], len(unseen)):
        most = 100 * (1 - 0.05 ** (1 / n))
        assert f"at most {most:.1f} % of pictures (1 − 0.05^(1/{n}))" in " ".join(page.split())


def test_each_scale_counts_at_the_rate_of_its_own_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    roofline = importlib.import_module("roofline")
    content = json.loads((ROOT / "benchmarks/roofline-cpu.json").read_text())
    for row in content["rows"]:
        assert roofline.shortest(row, row)[0] == pytest.approx(row["compute_s"])
        everything = row["fp32_gflop"] + row["bf16_gflop"]
        assert row["compute_s"] > everything / row["bf16_gflop_s"]
    monkeypatch.setattr(arithmetic, "_multiplies_bf16", lambda: True)
    work = roofline.counted(64, TrainerSettings(width=32, scales=4))
    (row,) = (row for row in content["rows"] if row["precision"] == "bf16 in 1 of 4 scales")
    assert work["fp32_gflop"] == pytest.approx(row["fp32_gflop"])
    assert work["bf16_gflop"] == pytest.approx(row["bf16_gflop"])
