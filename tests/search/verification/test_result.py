"""What is said of a verification whose outcomes are known; nothing is trained."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import skimage.data
from click.testing import CliRunner
from fake_runs import CONTENT, experiment, play
from PIL import Image
from played_verification import forbid_training, gains, searched, verified

from dipstage.schedules.schedule_file import read_schedule_file
from search import Run
from search.cli import main
from search.presentation.verdicts import rows_against_others
from search.verification.export import choose
from search.verification.result import Verification
from search.verification.rows import verification_rows
from search.verification.verdicts import Verdict, Word

pytestmark = pytest.mark.long


def test_verdicts_follow_the_outcomes(tmp_path: Path) -> None:
    score = gains(trial_2=(0.5, -10), trial_3=(-0.5, -10), trial_5=(0.5, 10))
    verification = verified(searched(tmp_path), score)
    assert verification.verdict(2) == Verdict(Word.NOT_WORSE, Word.BETTER)
    assert verification.verdict(3) == Verdict(Word.WORSE, Word.NOT_WORSE)
    assert verification.verdict(5) == Verdict(Word.NOT_WORSE, Word.WORSE)
    assert verification.verdict(0) is None, "baseline is plain DIP"
    assert verification.verdict_of_search is Word.BETTER
    said = {
        (row["schedule"], row["verdict_of_schedule"]) for row in verification_rows(verification)
    }
    assert {("trial 2", "better"), ("trial 3", "not shown"), ("trial 5", "not shown")} <= said
    exported = read_schedule_file(Run.of(verification.run).export())
    assert exported.provenance is not None
    assert exported.provenance.trial == 2
    assert exported.verified is not None
    verdict = "better (PSNR not worse, time better)"
    assert (exported.verified.verdict, exported.verified.n) == (verdict, 16)


def test_a_claim_must_hold_against_every_reference_of_its_own(tmp_path: Path) -> None:
    """Plain DIP with the recipe of trial 2 and a late average is as fast as trial 2."""
    run = searched(tmp_path)
    score = gains(trial_2=(0.3, -10), trial_5=(0.5, 0))

    def late(name: str, key: str) -> tuple[float, int] | str:
        is_late = name.startswith("plain DIP as trial 2, averaged from")
        return score("trial 2" if is_late else name, key)

    verification = verified(run, late, claims={2: "time", 5: "psnr"})
    assert verification.verdict(2) == Verdict(Word.NOT_WORSE, Word.NOT_WORSE)
    assert verification.verdict(5) == Verdict(Word.BETTER, Word.NOT_WORSE), "another claim's"
    references = {name: verification.references(name) for name in ("trial 2", "trial 5")}
    assert len(references["trial 2"] & references["trial 5"]) == 1
    assert {len(names) for names in references.values()} == {2}


def test_a_claim_is_compared_with_a_candidate_that_is_plain_dip_and_not_gated_by_it(
    tmp_path: Path,
) -> None:
    """With learning rates of their own, schedules have other plain DIPs than the candidate."""
    run = searched(
        tmp_path,
        candidates=["baseline", "log10"],
        space={**CONTENT["space"], "learning_rate": {"low": 0.003, "high": 0.02}},
        trainer={**CONTENT["trainer"], "learning_rate": 0.005},
    )
    score = gains(trial_2=(0.5, -10), baseline=(0.6, -12))
    verification = verified(run, score, claims={2: "time"})
    assert [trial.name for trial in verification.of_role("candidate")] == ["baseline", "log10"]
    assert "baseline" not in verification.references("trial 2")
    assert verification.verdict(2) == Verdict(Word.NOT_WORSE, Word.BETTER)
    names = [(row.name, row.reference) for row in rows_against_others(verification)]
    assert {("trial 2", "baseline"), ("trial 2", "log10")} <= set(names)
    assert len(set(names)) == len(names)
    pairs = [(r["schedule"], r["reference"], r["output"]) for r in verification_rows(verification)]
    assert ("trial 2", "baseline", "raw") in pairs
    assert len(set(pairs)) == len(pairs)
    # By the older rule, each plain DIP is a reference, and so compared once already.
    older = replace(verification, plan=replace(verification.plan, declared=None))
    pairs = [(r["schedule"], r["reference"], r["output"]) for r in verification_rows(older)]
    assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize(
    ("control", "what"),
    [("reversed", "the order of the stages"), ("contrast alone", "the added noise")],
)
def test_a_gain_is_not_attributed_to_what_an_equal_control_lacks(
    tmp_path: Path, control: str, what: str
) -> None:
    score = gains(**{"trial_5": (0.5, 0), f"trial_5_{control.replace(' ', '_')}": (0.5, 0)})
    verification = verified(searched(tmp_path), score, claims={5: "psnr"}, controls=True)
    names = [t.name for t in verification.of_role("control")]
    assert names == ["trial 5 reversed", "trial 5 contrast alone"], "two noised stages"
    assert verification.verdict_of("trial 5 reversed") is None, "controls claim nothing"
    assert verification.verdict(5) == Verdict(Word.BETTER, Word.NOT_WORSE)
    assert verification.unbroken("trial 5") == [f"trial 5 {control}"]
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    words = f"is not attributed to {what}: trial 5 {control} is not worse in PSNR and time"
    assert words in " ".join(shown.split())
    assert shown.count("not attributed") == 1


@pytest.mark.parametrize(
    ("whole", "budgets"), [(1, [1]), (2, [1, 2]), (4, [1, 2, 4]), (600, [150, 300, 600])]
)
def test_the_budgets_at_which_psnr_gt_is_read_are_at_least_one_iteration(
    whole: int, budgets: list[int]
) -> None:
    trainer = {**CONTENT["trainer"], "iterations": whole}
    alone = experiment(trainer=trainer, space=None, search={"trials": 0}, candidates=["baseline"])
    run: Any = SimpleNamespace(experiment=alone)
    parts: Any = None
    assert Verification(run, plan=parts, tuned=parts, held_out=parts).budgets == budgets


def test_a_schedule_that_diverged_once_shows_nothing_and_is_not_exported(tmp_path: Path) -> None:
    better = gains(trial_2=(0.5, -10))

    def score(name: str, key: str) -> tuple[float, int] | str:
        return "diverged" if (name, key) == ("trial 2", "page-seed5") else better(name, key)

    verification = verified(searched(tmp_path), score)
    assert verification.verdict(2) == Verdict(Word.NOT_SHOWN, Word.NOT_SHOWN)
    assert verification.verdict_of_search is not Word.BETTER
    comparison = verification.against_plain("trial 2")
    assert comparison is not None
    assert comparison.missing == 1
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    assert (
        "trial 2 failed after 15 of 16 replicates, so nothing can be shown for it: diverged"
        in shown
    )


def test_a_claim_is_open_if_a_reference_finished_no_replicate(tmp_path: Path) -> None:
    better = gains(trial_2=(0.5, -10))

    def score(name: str, key: str) -> tuple[float, int] | str:
        is_late = name.startswith("plain DIP as trial 2, averaged from")
        return "diverged" if is_late else better(name, key)

    verification = verified(searched(tmp_path), score, claims={2: "time"})
    assert verification.verdict(2) == Verdict()
    assert verification.hardest("trial 2") is None
    done = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    assert "trial 2, claimed to be faster: not shown" in shown
    assert "failed after 0 of 16 replicates, so nothing can be shown against it: div" in shown
    report = (verification.run.folder / "report.html").read_text()
    assert "Nothing is shown of trial 2: a plain DIP that it must hold against" in report
    exported = Run.of(verification.run).export("2")
    assert read_schedule_file(exported).verified is None
    assert choose(verification.run, "2").note == "verified: not shown"


def test_a_claim_that_finished_no_replicate_is_said_to_be_the_one(tmp_path: Path) -> None:
    def score(name: str, key: str) -> tuple[float, int] | str:
        return "diverged" if name == "trial 2" else (26.0, 20)

    verification = verified(searched(tmp_path), score, claims={2: "time"})
    done = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    report = (verification.run.folder / "report.html").read_text()
    said = "Nothing is shown of trial 2: on the held-out pictures, it finished no training."
    assert said in report


def test_plain_dip_that_diverged_leaves_no_verdict_and_lets_export_go_on(tmp_path: Path) -> None:
    def score(name: str, key: str) -> tuple[float, int] | str:
        return "diverged" if name.startswith("plain") else (26.0, 20)

    run = searched(tmp_path)
    verification = verified(run, score)
    assert verification.plain is None
    assert verification.verdict(2) == Verdict(Word.NOT_SHOWN, Word.NOT_SHOWN)
    done = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "finished no replicate: there are no verdicts" in done.output
    exported = CliRunner().invoke(main, ["export", "tiny", "--runs-dir", str(tmp_path)])
    assert exported.exit_code == 0, exported.output
    assert "no schedule was shown to be better than plain DIP" in exported.output


def test_a_finished_verification_is_shown_without_a_cluster_and_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("coins", "moon", "grass", "page")
    images = [str(tmp_path / f"{name}.png") for name in names]
    for name, path in zip(names, images, strict=True):
        Image.fromarray(getattr(skimage.data, name)()).save(path)
    verified(searched(tmp_path), gains(trial_2=(0.5, -10)), images=images)
    forbid_training(monkeypatch)
    for path in images:
        Path(path).unlink()
    command = ["verify", "tiny", "--runs-dir", str(tmp_path)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "trial 2, claimed to be faster: better" in done.output
    other = CliRunner().invoke(main, [*command, "--seeds", "7"])
    assert "has a verification with --seeds [2, 3, 4, 5], not [2, 3, 4, 5, 6" in other.output


def test_a_front_that_has_changed_since_is_named(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    run.study.set_user_attr("trials", 5)
    play(run, lambda number: (30.0, 29))
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    words = "this verdict is older than the front, which has changed since: trial 6; --restart"
    assert words in " ".join(shown.split())
