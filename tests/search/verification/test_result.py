"""What is said of a verification whose outcomes are known; nothing is trained."""

import json
import math
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import skimage.data
from click.testing import CliRunner
from fake_runs import CONTENT, experiment, new_run, play
from PIL import Image
from played_verification import (
    CLAIMS,
    IMAGES,
    forbid_training,
    gains,
    interrupt,
    planned,
    searched,
    verified,
)

from dipstage.documents.plain_yaml import yaml_text
from dipstage.documents.records import to_plain
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.schedules.schedule import Schedule
from dipstage.schedules.schedule_file import read_schedule_file
from search import Run
from search.cli import main
from search.execution.view import Quiet
from search.experiment.candidate import Candidate
from search.experiment.model import Resources
from search.experiment.prepare import load_candidates
from search.presentation.verdicts import rows_against_others
from search.store.lease import leased, verifying
from search.store.paths import verification_path
from search.verification.declared import Request, load_plan
from search.verification.drive import HERE, Hardware, _discard, _Driver, verify
from search.verification.export import choose
from search.verification.parts import HELD_OUT, TUNING, part
from search.verification.plan import begin, new_plan
from search.verification.result import Verification
from search.verification.rows import verification_rows
from search.verification.schedules import controls_of, lacking
from search.verification.verdicts import Verdict, Word

pytestmark = pytest.mark.long


def test_a_notebook_shows_the_verdicts(tmp_path: Path) -> None:
    run = searched(tmp_path)
    plan = new_plan(run, Request(images=tuple(IMAGES)))
    write_whole(verification_path(run.folder), yaml_text(to_plain(plan, {})))
    assert "; not verified: its verification is not finished</div>" in run._repr_html_()
    score = gains(trial_2=(0.5, -10), trial_3=(-0.5, -10), trial_5=(0.5, 10))
    verified(run, score, claims={3: "time", 2: "time"}, seen=["skimage:coins"])
    page = run._repr_html_()
    assert "; verified on pictures that the search has seen: better</div>" in page
    assert "<th>against plain DIP</th>" in page
    rows = page.split("<tr>")[2:]
    assert [row.count("<td>") for row in rows] == [6, 6, 6]
    assert "<td>better (" in rows[1]
    assert "<td>not shown (" in rows[0]
    assert "<td>not verified</td>" in rows[2]


def test_a_notebook_tells_plain_dip_from_what_is_not_claimed(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(candidates=["baseline", "log10"]))
    play(run, lambda number: {0: (25.0, 8), 1: (26.0, 12), 2: (27.0, 20)}.get(number, (24.0, 25)))
    verified(run, gains(trial_2=(0.5, -10)), claims={2: "psnr"})
    rows = run._repr_html_().split("<tr>")[2:]
    for row, words in zip(rows, ("plain DIP itself", "not claimed", "better ("), strict=True):
        assert f"<td>{words}" in row


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


def test_references_are_tuned_plain_dip_the_usual_rate_and_the_schedule_s_own(
    tmp_path: Path,
) -> None:
    run = searched(
        tmp_path,
        candidates=["uniform", "log10"],
        trainer={**experiment().model_dump()["trainer"], "learning_rate": 0.1},
    )
    verification = verified(run, gains(), claims={2: "time"})
    rates = [t.learning_rate for t in verification.held_out.records() if t.is_plain]
    assert rates == [0.01, 0.1, 0.1]
    assert verification.references("trial 2") == {t.name for t in verification.plains}


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


def test_a_plain_dip_that_is_there_already_is_not_trained_twice(tmp_path: Path) -> None:
    verification = verified(searched(tmp_path), gains(), claims={3: "time", 2: "time"})
    names = [trial.name for trial in verification.held_out.records()]
    tuned = "plain DIP, highest PSNR and fastest (rate 0.01, input noise 0.0333, ema 0.99)"
    assert [name for name in names if "averaged from" not in name] == [
        tuned, "trial 3", "trial 2", "log10",
    ]  # fmt: skip
    assert len(names) == 6


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


def test_shrinkage_is_taken_within_the_search_s_budget(tmp_path: Path) -> None:
    """The search saw 30 of 45 iterations; trial 5 and plain DIP reach their maxima later."""
    run = searched(tmp_path)
    verification = verified(run, gains(trial_5=(2.0, 10)))
    [row] = [
        r for r in verification_rows(verification)
        if (r["schedule"], r["output"], r["role"]) == ("trial 5", "raw", "found")
        and r["shrinkage_db"] is not None
    ]  # fmt: skip
    # In the search: 27 dB against plain DIP's 25.2.
    assert row["search_max_psnr_gt_db_difference"] == pytest.approx(1.8)
    assert row["max_psnr_gt_db_difference"] == pytest.approx(2.0, abs=0.02)
    gain = row["search_max_psnr_gt_db_difference"] - row["shrinkage_db"]
    assert gain < 0
    assert verification.plain is not None
    plain = verification.at_budgets(verification.plain, "raw")[-1]
    assert plain < 24.8
    assert row["psnr_gt_db_by_30"] == pytest.approx(plain + gain)


def test_p_in_the_csv_is_that_of_the_claim_or_by_the_older_rule_of_each_difference(
    tmp_path: Path,
) -> None:
    verification = verified(
        searched(tmp_path), gains(trial_2=(0.5, -10)), claims={2: "time", 5: "psnr"}
    )
    rows = verification_rows(verification)
    plain = verification.plain
    assert plain is not None
    psnr, time = (
        {
            r["schedule"]: r[key]
            for r in rows
            if (r["reference"], r["output"]) == (plain.name, "raw")
        }
        for key in ("max_psnr_gt_db_p_holm", "time_ratio_p_holm")
    )
    assert psnr["trial 2"] is time["trial 5"] is None
    assert time["trial 2"] < 0.05 < psnr["trial 5"]
    # Its name before the time was judged by its ratio.
    assert all(row["steps_to_max_p_holm"] == row["time_ratio_p_holm"] for row in rows)
    assert not {"max_psnr_gt_db_p", "steps_to_max_p"} & set(rows[0])
    older = replace(verification, plan=replace(verification.plan, declared=None))
    rows = verification_rows(older)
    assert all(0 < row["steps_to_max_p"] <= row["steps_to_max_p_holm"] <= 1 for row in rows)
    assert "time_ratio_p_holm" not in rows[0]


def test_after_not_shown_the_pictures_that_are_needed_are_named(tmp_path: Path) -> None:
    verified(searched(tmp_path), gains(), claims={2: "time"})
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    shown = " ".join(shown.split())
    assert "trial 2 is not shown to be better. 2 pictures would show the smallest" in shown
    assert "smallest effect of interest, a time ratio of 0.85, with 80 % power" in shown


def test_a_single_picture_gets_no_number_of_pictures_for_its_unknown_spread(tmp_path: Path) -> None:
    verified(searched(tmp_path), gains(), claims={2: "time"}, images=IMAGES[:1])
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    shown = " ".join(shown.split())
    assert "so no schedule can be better: verify anew on at least two (--restart --images)" in shown
    assert "pictures would show" not in shown
    assert "--seeds" not in shown


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
    ("name", "what"),
    [
        ("trial 5 reversed", "the order of the stages"),
        ("trial 5 shuffled", "the order of the stages"),
        ("trial 5 contrast alone", "the added noise"),
        ("plain DIP, rate 0.01", "the stages"),
        ("plain DIP as trial 5", "the stages"),
    ],
)
def test_each_control_lacks_something_else(name: str, what: str) -> None:
    assert lacking(name, "trial 5") == what


def test_a_front_that_has_changed_since_is_named(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    run.study.set_user_attr("trials", 5)
    play(run, lambda number: (30.0, 29))
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    words = "this verdict is older than the front, which has changed since: trial 6; --restart"
    assert words in " ".join(shown.split())


def test_controls_that_are_the_schedule_itself_are_left_out() -> None:
    def names(*levels: float) -> list[str]:
        schedule = Schedule.from_pairs([*([level, 3] for level in levels), [1.0, 20]])
        found = controls_of(Candidate("it", schedule, role="found", trial=7))
        return [control.name for control in found]

    assert names(0.2) == ["it contrast alone"]
    assert names(0.2, 0.4) == ["it reversed", "it contrast alone"]
    assert names(0.2, 0.4, 0.6) == ["it reversed", "it shuffled", "it contrast alone"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("trial 7", "is reserved for trials"),
        ("plain DIP", "is reserved for trials"),
        ("64", "would mean the trial of that number"),
    ],
)
def test_candidates_may_not_have_names_of_trials(tmp_path: Path, name: str, words: str) -> None:
    run = searched(tmp_path)
    path = run.export("2", tmp_path / f"{name}.yaml")
    with pytest.raises(InputError, match=f"candidates: the name '{name}' {words}: rename the"):
        load_candidates(experiment(candidates=[str(path)]))


class Cut(Exception):
    """As if the process had been killed."""


def cut(*_: object, **__: object) -> None:
    """Be killed."""
    raise Cut


@pytest.mark.ray
def test_a_restart_that_was_cut_off_leaves_a_run_that_can_be_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = searched(tmp_path)
    verified(run, gains())

    monkeypatch.setattr("search.verification.drive.remove_tree", cut)
    with pytest.raises(Cut):
        verify(run, Request(restart=True, seeds=1), view=Quiet())
    assert Verification.open(run) is None
    assert part(run, HELD_OUT) is None
    assert part(run, TUNING) is not None


@pytest.mark.parametrize("name", [HELD_OUT, TUNING])
def test_a_restart_refuses_a_link_and_leaves_what_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = searched(tmp_path / "runs")
    verified(run, gains())
    (run.folder / name).rename(tmp_path / "elsewhere")
    (run.folder / name).symlink_to(tmp_path / "elsewhere")
    forbid_training(monkeypatch)
    with pytest.raises(InputError, match=f"{name} is a link to {tmp_path}/elsewhere, and --restar"):
        verify(run, Request(restart=True, seeds=1), view=Quiet())
    assert (run.folder / name).is_symlink()
    assert not list(run.folder.glob(".*"))
    assert Verification.open(run) is not None


def test_claims_are_the_front_s_knee_and_end_by_default_and_never_plain_dip(
    tmp_path: Path,
) -> None:
    images = ("skimage:coins",)
    space = {**experiment().model_dump()["space"], "stages": {"low": 1, "high": 1}}
    run = searched(tmp_path / "plain", space=space, candidates=["baseline"])
    assert {len(t.schedule.stages) for t in run.front() if t.schedule} == {1}
    with pytest.raises(InputError, match="front of 'tiny' holds no staged schedule to verify"):
        new_plan(run, Request(images=images))
    with pytest.raises(InputError, match="--best 0: baseline is plain DIP, which has no stages"):
        new_plan(run, Request(images=images, best="0"))
    staged = searched(tmp_path / "staged")

    def claims(**asked: str) -> dict[int, str]:
        declared = new_plan(staged, Request(images=images, **asked)).declared  # type: ignore[arg-type]
        assert declared is not None
        return {claim.trial: claim.endpoint for claim in declared.claims}

    assert claims() == {2: "time", 5: "psnr"}
    assert claims(fast="log10") == {1: "time"}
    assert claims(best="steps") == {3: "psnr"}
    with pytest.raises(InputError, match=r"--fast: .* picked by knee, psnr, steps"):
        claims(fast="best")
    with pytest.raises(InputError, match="--fast and --best name the same schedule"):
        claims(fast="5", best="psnr")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"claims": 1}, "--claims must count these 2, got 1"),
        ({"alpha": 0.1}, r"--alpha must be in \(0, 0.05\], got 0.1"),
        ({"smallest_db": 0.0}, "--smallest-db must be above 0"),
        ({"smallest_ratio": 1.0}, "--smallest-ratio in"),
        ({"references": 4}, "--references must be at least 5, a quarter of the search's schedules"),
    ],
)
def test_wrong_declarations_are_refused(
    tmp_path: Path, asked: dict[str, float], words: str
) -> None:
    run = searched(tmp_path)
    with pytest.raises(InputError, match=words):
        new_plan(run, Request(images=("skimage:coins",), **asked))  # type: ignore[arg-type]


def test_a_second_verification_counts_the_claims_of_the_first_and_not_its_pictures(
    tmp_path: Path,
) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    former = load_plan(run)
    again = new_plan(run, Request(restart=True), former).declared
    assert again is not None
    assert (again.earlier, again.family) == (3, 5)
    pictures = new_plan(run, Request(restart=True), former).images
    assert not set(pictures) & set(IMAGES)


@pytest.mark.parametrize("is_discarded", [False, True])
def test_an_interrupted_verification_counts_once_it_has_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_discarded: bool
) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    interrupt(run, HELD_OUT)
    assert Verification.open(run) is None
    if is_discarded:
        following = new_plan(run, Request(restart=True), load_plan(run))
        monkeypatch.setattr("search.verification.drive.remove_tree", cut)
        with pytest.raises(Cut):
            _discard(run, following, "cpu")
        assert part(run, HELD_OUT) is None
    former = load_plan(run)
    again = new_plan(run, Request(restart=True), former).declared
    assert again is not None
    assert (again.earlier, again.family) == (3, 5)
    with pytest.raises(InputError, match="an earlier step has seen pictures skimage:coins"):
        begin(run, Request(images=("skimage:coins",), restart=True))


def test_a_verification_without_scores_does_not_count(tmp_path: Path) -> None:
    """As after a tuning that asks for other learning rates, or for other claims."""
    run = searched(tmp_path)
    write_whole(verification_path(run.folder), yaml_text(to_plain(planned(run, CLAIMS), {})))
    plan, _ = begin(run, Request(images=("skimage:coins",), restart=True))
    assert plan.declared is not None
    assert plan.declared.earlier == 0


def test_an_interrupted_verification_says_how_it_stands_and_not_how_the_search_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run = searched(tmp_path)
    verified(run, gains())
    interrupt(run, HELD_OUT)
    monkeypatch.setattr("search.verification.drive.verify", interrupted)
    result = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)])
    assert result.exit_code == 130
    assert result.stderr == (
        f"interrupted; continue with: dipsearch verify tiny --runs-dir {tmp_path}\n"
    )
    tuning, held_out = result.stdout.splitlines()
    assert tuning.startswith("tiny/learning-rate: 3/3 trials, 0 running")
    assert held_out.startswith("tiny/verification: ")


@pytest.mark.ray
def test_a_restart_without_a_cluster_keeps_the_verification(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    before = verification_path(run.folder).read_bytes()
    # In a process of its own: where Ray runs already, it is used and no address is looked at.
    done = subprocess.run(
        [sys.executable, "-m", "search.cli", "verify", "tiny", "--runs-dir", str(tmp_path),
         "--restart", "--address", "127.0.0.1:1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "nobody listens there" in done.stderr
    assert verification_path(run.folder).read_bytes() == before
    assert Verification.open(run) is not None


def test_status_says_how_to_go_on_with_a_verification(tmp_path: Path) -> None:
    run = searched(tmp_path)
    write_whole(verification_path(run.folder), "images: []\n")
    shown = CliRunner().invoke(main, ["status", "tiny", "--runs-dir", str(tmp_path)]).output
    assert f"not finished; continue with: dipsearch verify tiny --runs-dir {tmp_path}" in shown


def test_status_names_the_driver_of_a_verification_between_its_parts(tmp_path: Path) -> None:
    run = searched(tmp_path)
    write_whole(verification_path(run.folder), "images: []\n")
    status = ["status", "tiny", "--runs-dir", str(tmp_path)]
    with leased(run.storage, verifying("tiny"), "the verification"):
        shown = CliRunner().invoke(main, status).output
        content = json.loads(CliRunner().invoke(main, [*status, "--json"]).stdout)
    assert f"\ndriver: {os.uname().nodename}, process {os.getpid()}, since " in shown
    assert "continue with" not in shown
    assert content["driver"]["process"] == os.getpid()


def test_an_exported_claim_has_its_endpoint_and_time_ratio(tmp_path: Path) -> None:
    verification = verified(searched(tmp_path), gains(trial_2=(0.5, -10), trial_3=(0.1, -1)))
    exported = read_schedule_file(Run.of(verification.run).export("2")).verified
    comparison = verification.against_plain("trial 2")
    assert exported is not None
    assert comparison is not None
    assert comparison.log_ratio is not None
    assert exported.endpoint == "time"
    ratio, log = exported.time_ratio, comparison.log_ratio
    assert ratio is not None
    assert ratio.mean < 1
    for value, expected in ((ratio.mean, log.mean), (ratio.low, log.low), (ratio.high, log.high)):
        assert value is not None
        assert math.log(value) == pytest.approx(expected)


def test_another_device_is_refused_or_named(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verification = verified(run, gains())
    assert "; trained on cpu" in verification.method
    assert "TUNED ON" not in verification.method
    there = _Driver(HERE, Resources(), "cuda", Quiet())
    words = "tiny/verification on cpu, tiny/learning-rate on cpu has begun, .* train on cuda"
    with pytest.raises(InputError, match=words):
        there.refuse_other_device(run, (HELD_OUT, TUNING))
    replace(there, device="cpu").refuse_other_device(run, (HELD_OUT, TUNING))
    accepting = replace(there, hardware=Hardware(accept_changes=True))
    accepting.refuse_other_device(run, (HELD_OUT, TUNING))
    with sqlite3.connect(run.folder / TUNING / "study.db") as database:
        database.execute(
            "UPDATE trial_user_attributes SET value_json = "
            """replace(value_json, '"device": "cpu"', '"device": "H100", "precision": "bf16"')"""
        )
    mixed = Verification.open(run)
    assert mixed is not None
    assert "; trained on cpu, PLAIN DIP WAS TUNED ON H100 in bf16" in mixed.method


@pytest.mark.parametrize(("device", "is_kept"), [("cpu", True), ("cuda", False)])
def test_a_restart_keeps_a_tuning_of_the_same_device(
    tmp_path: Path, device: str, is_kept: bool
) -> None:
    run = searched(tmp_path)
    verification = verified(run, gains())
    _discard(run, verification.plan, device)
    assert part(run, HELD_OUT) is None
    assert (part(run, TUNING) is not None) == is_kept
