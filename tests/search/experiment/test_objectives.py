"""Names, units and constraints of objectives, and what cannot be combined."""

from pathlib import Path
from typing import Any

import pytest
from fake_runs import CONTENT, experiment, new_run, outcome

from dipstage.errors import InputError
from search import launch
from search.experiment.objectives import Objective
from search.experiment.prepare import refuse_early_end
from search.experiment.reading import load_experiment, validate
from search.remote.upload import check
from search.store.changes import adopt_changes
from search.store.replicate import Replicate, Selection


@pytest.mark.parametrize(
    ("given", "quality", "cost"),
    [
        ({}, "max PSNR_GT (dB)", "steps to max (iterations)"),
        ({"tolerance_db": 0.1}, "max PSNR_GT (dB)", "steps to 0.1 dB below max (iterations)"),
        ({"target_psnr_gt_db": 28}, "max PSNR_GT (dB)", "steps to 28 dB (iterations)"),
        ({"metric": "ssim"}, "max SSIM_GT", "steps to max SSIM (iterations)"),
        ({"stop": "emv"}, "PSNR_GT at EMV stop (dB)", "steps to EMV stop (iterations)"),
        ({"stop": "wmv", "against": "seconds"}, "PSNR_GT at WMV stop (dB)",
         "seconds to WMV stop (s)"),
        ({"against": "gpu_seconds"}, "max PSNR_GT (dB)", "GPU-seconds to max (GPU s)"),
        ({"metric": "sharpness", "against": "energy"}, "sharpness", "energy"),
    ],
)  # fmt: skip
def test_every_objective_has_a_label(given: dict[str, Any], quality: str, cost: str) -> None:
    objective = Objective(**given)
    assert (objective.quality.label, objective.cost.label) == (quality, cost)
    assert objective.is_standard == (given in ({}, {"tolerance_db": 0.1}))
    assert objective.standard.is_standard


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"stop": "emv", "metric": "ssim"}, "stop emv and metric ssim cannot be combined"),
        ({"stop": "emv", "tolerance_db": 0.1}, "stop emv and tolerance_db cannot be combined"),
        ({"metric": "ssim", "tolerance_db": 0.1}, "metric ssim and tolerance_db cannot"),
        ({"stop": "late"}, "stop must be oracle or emv or wmv, got 'late'"),
        ({"max_steps": 0}, "max_steps must be above 0, got 0"),
        ({"min_psnr_gt_db": float("inf")}, "min_psnr_gt_db must be finite, got inf"),
        ({"metric": "a b"}, "metric must be a name of letters, digits, dots and dashes"),
        ({"max_stepz": 3}, "unknown key max_stepz: known are output, .*max_steps"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        experiment(objective=given)


def test_a_stopping_rule_and_the_oracle_s_are_not_combined() -> None:
    trainer = {**CONTENT["trainer"], "oracle_stop": True}
    with pytest.raises(InputError, match=r"objective.stop is emv, which ends a run itself"):
        validate({**CONTENT, "trainer": trainer, "objective": {"stop": "emv"}}, "test")


@pytest.mark.parametrize("oracle_stop", [True, "both", "decided"])
def test_a_new_search_for_ssim_is_not_ended_by_psnr(tmp_path: Path, oracle_stop: Any) -> None:
    """Runs that began with both are read, and go on."""
    trainer = {**CONTENT["trainer"], "oracle_stop": oracle_stop}
    both = experiment(objective={"metric": "ssim"}, trainer=trainer)
    words = r"objective\.metric is ssim, .*: set trainer\.oracle_stop to false"
    with pytest.raises(InputError, match=words):
        launch(both, runs_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=words):
        check(both)
    check(both, resume=True)
    old = new_run(tmp_path, both)
    assert adopt_changes(old, None, accept=False) == (both, [])


def test_the_first_search_says_how_to_search_for_ssim() -> None:
    page = Path(__file__).parents[3] / "docs" / "first-search.md"
    [row] = [line for line in page.read_text("utf-8").splitlines() if "SSIM instead" in line]
    given = ("objective.metric=ssim", "trainer.oracle_stop=false")
    assert all(f"`{word}`" in row for word in ("objective: {metric: ssim}", "oracle_stop: false"))
    refuse_early_end(load_experiment("quickstart", given))
    with pytest.raises(InputError, match=r"set trainer\.oracle_stop to false"):
        refuse_early_end(load_experiment("quickstart", given[:1]))


def test_a_replicate_is_measured_by_the_objective() -> None:
    plain = {**outcome(27.0, 12).to_plain(), "gpus": 0.25, "objectives": {"energy": 7.5}}
    plain["selected"] = {"iteration": 9, "iteration_smoothed": 11, "psnr_gt_raw_db": 26.5,
                         "psnr_gt_smoothed_db": 27.5}  # fmt: skip
    plain["raw"]["steps_to_target"] = 4
    replicate = Replicate.from_plain(plain)
    assert replicate.selected == Selection(9, 11, 26.5, 27.5)
    assert Replicate.from_plain(replicate.to_plain()) == replicate

    def score(**given: Any) -> tuple[float, float]:
        return replicate.score(Objective(**given))

    assert score() == (27.0, 12.0)
    assert score(stop="emv") == (26.5, 30.0), "all iterations until it stopped, the wait included"
    assert score(stop="emv", output="smoothed", against="seconds") == (27.5, 30 / 12)
    assert score(against="gpu_seconds") == (27.0, 12 / 12 * 0.25)
    assert score(target_psnr_gt_db=26, against="energy") == (27.0, 7.5)
    assert score(metric="ssim", target_psnr_gt_db=26) == (0.75, 4.0)
    limited = Objective(stop="emv", max_steps=25, min_psnr_gt_db=26)
    assert replicate.violations(limited) == {"max_steps": 5.0, "min_psnr_gt_db": -0.5}
