"""What is said of a verification whose outcomes are known; nothing is trained."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_runs import experiment, play
from played_verification import IMAGES, gains, searched, verified

from dipstage.documents.plain_yaml import yaml_text
from dipstage.documents.records import to_plain
from dipstage.documents.schedule_file import read_schedule_file
from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError
from dipstage.schedules import Schedule
from search import Run
from search.cli import main
from search.experiment.prepare import load_candidates
from search.store.paths import verification_path
from search.verification.drive import part, verify
from search.verification.plan import (
    HELD_OUT,
    TUNING,
    Request,
    new_plan,
)
from search.verification.result import Verification
from search.verification.schedules import controls_of
from search.verification.verdicts import Verdict, Word

pytestmark = pytest.mark.long


def test_a_notebook_shows_the_verdicts(tmp_path: Path) -> None:
    run = searched(tmp_path)
    plan = new_plan(run, Request(images=tuple(IMAGES)))
    write_whole(verification_path(run.folder), yaml_text(to_plain(plan, {})))
    assert "; not verified: its verification is not finished</div>" in run._repr_html_()
    score = gains(trial_2=(0.5, -10), trial_3=(-0.5, -10), trial_5=(0.5, 10))
    verified(run, score, trials=[3, 2], seen=["skimage:coins"])
    page = run._repr_html_()
    assert "; verified on pictures that the search has seen: better</div>" in page
    assert "<th>against plain DIP</th>" in page
    rows = page.split("<tr>")[2:]
    assert [row.count("<td>") for row in rows] == [6, 6, 6]
    assert "<td>better</td>" in rows[1]
    assert "<td>not shown (" in rows[0]
    assert "<td>not verified</td>" in rows[2]


def test_verdicts_follow_the_outcomes(tmp_path: Path) -> None:
    score = gains(trial_2=(0.5, -10), trial_3=(-0.5, -10), trial_5=(0.5, 10))
    verification = verified(searched(tmp_path), score)
    assert verification.verdict(2) == Verdict(Word.BETTER, Word.BETTER)
    assert verification.verdict(3) == Verdict(Word.WORSE, Word.BETTER)
    assert verification.verdict(5) == Verdict(Word.BETTER, Word.WORSE)
    assert verification.verdict(0) is None, "baseline is plain DIP"
    assert verification.verdict_of_search is Word.BETTER
    said = {(row["schedule"], row["verdict_of_schedule"]) for row in verification.rows()}
    assert {("trial 2", "better"), ("trial 3", "not shown"), ("trial 5", "not shown")} <= said
    exported = read_schedule_file(Run.of(verification.run).export())
    assert exported.provenance is not None
    assert exported.provenance.trial == 2
    assert exported.verified is not None
    assert (exported.verified.verdict, exported.verified.n) == ("better", 16)


def test_a_schedule_must_beat_plain_dip_at_every_rate_that_was_verified(tmp_path: Path) -> None:
    """The tuned rate may suit the held-out pictures worse than the experiment's own."""
    run = searched(tmp_path, trainer={**experiment().model_dump()["trainer"], "learning_rate": 0.1})
    verification = verified(run, gains(trial_2=(0.3, -10), baseline=(0.3, 0)))
    tuned, usual = verification.plains
    assert (tuned.learning_rate, usual.name) == (0.01, "baseline")
    alone = verification.against_plain("trial 2", reference=tuned)
    assert alone is not None
    assert alone.verdict.psnr is Word.BETTER
    assert verification.verdict(2) == Verdict(Word.NOT_WORSE, Word.BETTER)
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    assert "baseline (plain DIP, learning rate 0.1) is 0.30 dB above plain DIP" in shown


def test_plain_dip_at_the_experiment_s_rate_is_verified_without_being_a_candidate(
    tmp_path: Path,
) -> None:
    run = searched(
        tmp_path,
        candidates=["uniform", "log10"],
        trainer={**experiment().model_dump()["trainer"], "learning_rate": 0.1},
    )
    rates = [trial.learning_rate for trial in verified(run, gains()).plains]
    assert rates == [0.01, 0.1]


def test_a_candidate_that_is_the_tuned_plain_dip_is_not_trained_twice(tmp_path: Path) -> None:
    verification = verified(searched(tmp_path), gains())
    names = [trial.name for trial in verification.held_out.records()]
    assert names == ["plain DIP, learning rate 0.01", "trial 3", "trial 2", "trial 5", "log10"]


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


def test_plain_dip_that_diverged_leaves_no_verdict_and_lets_export_go_on(tmp_path: Path) -> None:
    def score(name: str, key: str) -> tuple[float, int] | str:
        return "diverged" if name.startswith("plain") else (26.0, 20)

    run = searched(tmp_path)
    verification = verified(run, score)
    assert verification.plain is None
    assert verification.comparisons == []
    assert verification.verdict(2) == Verdict(Word.NOT_SHOWN, Word.NOT_SHOWN)
    done = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "finished no replicate: there are no verdicts" in done.output
    exported = CliRunner().invoke(main, ["export", "tiny", "--runs-dir", str(tmp_path)])
    assert exported.exit_code == 0, exported.output
    assert "no schedule was shown to be better than plain DIP" in exported.output


def test_shrinkage_is_taken_within_the_search_s_budget(tmp_path: Path) -> None:
    """Trial 5 peaks at iteration 40 of 45; the search saw 30."""
    run = searched(tmp_path)
    verification = verified(run, gains(trial_5=(2.0, 10)))
    [row] = [
        r for r in verification.rows()
        if (r["schedule"], r["output"], r["role"]) == ("trial 5", "raw", "found")
        and r["shrinkage_db"] is not None
    ]  # fmt: skip
    # In the search: 27 dB against plain DIP's 25.2.
    assert row["search_max_psnr_gt_db_difference"] == pytest.approx(1.8)
    assert row["max_psnr_gt_db_difference"] == pytest.approx(2.0, abs=0.02)
    gain = row["search_max_psnr_gt_db_difference"] - row["shrinkage_db"]
    assert gain < 0
    assert row["psnr_gt_db_by_30"] == pytest.approx(25 + gain, abs=0.02)


def test_too_few_replicates_for_any_p_are_named(tmp_path: Path) -> None:
    verification = verified(
        searched(tmp_path), gains(trial_2=(1.0, -15)), seeds=[2], learning_rates=[0.01]
    )
    assert verification.verdict_of_search is not Word.BETTER
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    assert "4 replicates allow no p below 0.75 after Holm's correction" in shown
    assert "was chosen among 1: too few to call it tuned" in shown


def test_a_front_that_has_changed_since_is_named(tmp_path: Path) -> None:
    run = searched(tmp_path)
    verified(run, gains())
    run.study.set_user_attr("trials", 5)
    play(run, lambda number: (30.0, 29))
    shown = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)]).output
    assert "the front has changed since: trial 6; --restart verifies today's" in shown


def test_controls_that_are_the_schedule_itself_are_left_out() -> None:
    class Found:
        name, number, learning_rate = "trial 7", 7, 0.01

        def __init__(self, *levels: float) -> None:
            pairs = [[level, 3] for level in levels]
            self.schedule = Schedule.from_pairs([*pairs, [1.0, 20]])

    def names(*levels: float) -> list[str]:
        controls = controls_of(Found(*levels), 60)  # type: ignore[arg-type]
        return [c.name.replace("trial 7", "it") for c in controls]

    plain = ["plain at the rate of it", "plain warmed up as it"]
    assert names(0.2) == plain
    assert names(0.2, 0.4) == ["it reversed", "it max level alone", *plain]
    assert names(0.2, 0.4, 0.6) == ["it reversed", "it shuffled", "it max level alone", *plain]


@pytest.mark.parametrize("name", ["trial 7", "plain DIP"])
def test_candidates_may_not_have_names_that_tables_give(tmp_path: Path, name: str) -> None:
    run = searched(tmp_path)
    path = run.export("2", tmp_path / f"{name}.yaml")
    with pytest.raises(InputError, match=f"candidates: the name '{name}' is reserved for trials"):
        load_candidates(experiment(candidates=[str(path)]))


@pytest.mark.ray
def test_a_restart_that_was_cut_off_leaves_a_run_that_can_be_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = searched(tmp_path)
    verified(run, gains())

    class Cut(Exception):
        """As if the process had been killed."""

    def cut(*_: object, **__: object) -> None:
        raise Cut

    monkeypatch.setattr("search.verification.drive.remove_tree", cut)
    with pytest.raises(Cut):
        verify(run, Request(restart=True, seeds=1), view=None)  # type: ignore[arg-type]
    assert Verification.open(run) is None
    assert part(run, HELD_OUT) is None
    assert part(run, TUNING) is not None


def test_plain_dip_on_the_front_is_neither_verified_as_a_find_nor_controlled(
    tmp_path: Path,
) -> None:
    space = {**experiment().model_dump()["space"], "stages": {"low": 1, "high": 1}}
    run = searched(tmp_path / "plain", space=space)
    assert {len(t.schedule.stages) for t in run.front() if t.schedule} == {1}
    images = ("skimage:coins",)
    assert new_plan(run, Request(images=images)).trials == []
    with pytest.raises(InputError, match="--controls psnr: the front of 'tiny' holds no staged"):
        new_plan(run, Request(images=images, controls="psnr"))
    with pytest.raises(InputError, match="trial 5 is plain DIP, which has no stages"):
        new_plan(run, Request(images=images, controls="5"))
    staged = searched(tmp_path / "staged")
    assert new_plan(staged, Request(images=images, controls="psnr")).controls == 5
    with pytest.raises(InputError, match=r"--controls: .* picked by knee, psnr, steps"):
        new_plan(staged, Request(images=images, controls="best"))


def test_a_control_that_is_there_already_is_not_trained_again(tmp_path: Path) -> None:
    """Without a searched learning rate, plain DIP at the schedule's rate is plain DIP."""
    verification = verified(searched(tmp_path), gains(), controls=5)
    names = [t.name for t in verification.held_out.records() if verification.role(t) == "control"]
    assert "plain warmed up as trial 5" in names
    assert "plain at the rate of trial 5" not in names


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
