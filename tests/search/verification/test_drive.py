"""Verification from a request to its verdicts: what is compared, what is refused, what is said."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fake_runs import experiment, new_run
from one_process import one_process
from verified_runs import REQUEST, SMALL, copy, results

from dipstage.errors import InputError
from dipstage.schedules.controls import contrast_alone, in_reverse
from dipstage.schedules.schedule_file import read_schedule_file
from search import Run, launch
from search.cli import main
from search.execution.driver import create
from search.execution.view import Quiet
from search.experiment.prepare import load_candidates
from search.store.changes import adopt_changes, without_effect
from search.store.paths import verification_path
from search.store.records import Trial
from search.verification.declared import Request
from search.verification.drive import Hardware, _Driver, verify
from search.verification.export import choose
from search.verification.result import Verification
from search.verification.rows import verification_rows
from search.verification.verdicts import Comparison, Verdict, Word

pytestmark = pytest.mark.usefixtures("one_process")


@pytest.fixture(scope="module")
def verified(searched: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same search, verified with controls."""
    run = copy(searched, tmp_path_factory.mktemp("verified"))
    with one_process():
        verify(run, REQUEST, view=Quiet())
    return run


def plain_of(verification: Verification) -> Trial:
    """Tuned plain DIP, which finished."""
    assert verification.plain is not None
    return verification.plain


def test_everything_is_trained_on_the_same_held_out_replicates(verified: Run) -> None:
    verification = results(verified)
    records = verification.held_out.records()
    keys = {"coffee-seed4", "rocket-seed4", "coffee-seed5", "rocket-seed5"}
    assert {trial.state for trial in records} == {"complete"}
    assert all(set(trial.replicates) == keys for trial in records)
    assert verification.plan.seeds == [4, 5], "the search used 0 and 3"
    roles = [verification.role(trial) for trial in records]
    assert roles[0] == "plain"
    assert roles.count("found") == 1
    assert roles.count("candidate") == 1, "the baseline is plain DIP at the usual rate"
    assert roles.count("control") == 3
    assert verification.plan.trials == [2]
    assert verification.verdict(2) is not None


def test_all_have_plain_dip_s_budget_and_run_to_its_end(verified: Run) -> None:
    verification = results(verified)
    for trial in verification.held_out.records():
        assert trial.schedule is not None
        assert trial.schedule.iterations == 45
        for key in trial.replicates:
            assert len(verification.held_out.curves(trial, key)["loss"]) == 45
    original, found = verified.records()[2].schedule, verification.measured(2)
    assert original is not None
    assert found is not None
    assert found.schedule is not None
    assert found.schedule.pairs == original.extended(45).pairs


def test_replicates_are_paired_in_observation_input_and_weights(verified: Run) -> None:
    """Before its first update, every schedule has bit for bit the same output and observation."""
    held_out = results(verified).held_out
    trials = held_out.records()
    for key in trials[0].replicates:
        curves = [held_out.curves(trial, key) for trial in trials]
        for name in ("psnr_gt_raw_db", "psnr_raw_db", "ssim_gt_raw"):
            assert len({float(curve[name][0]) for curve in curves}) == 1
            assert len({float(curve[name][20]) for curve in curves}) > 1


def test_controls_break_the_staging_and_nothing_else(verified: Run) -> None:
    verification = results(verified)
    trials = {trial.name: trial for trial in verification.held_out.records()}
    found = trials["trial 2"].schedule
    assert found is not None
    assert trials["trial 2 reversed"].schedule == in_reverse(found)
    assert trials["trial 2 contrast alone"].schedule == contrast_alone(found)
    shuffled = trials["trial 2 shuffled"].schedule
    assert shuffled is not None
    assert sorted(shuffled.pairs) == sorted(found.pairs)
    late = trials[f"plain DIP as trial 2, averaged from {found.ramp}"].schedule
    assert late is not None
    assert late.recipe == replace(found.recipe, average_from=found.ramp)


def test_plain_dip_is_tuned_on_the_search_s_replicates_and_beyond_the_end_of_what_was_tried(
    verified: Run,
) -> None:
    verification = results(verified)
    tuned = verification.tuned.records()
    assert [trial.learning_rate for trial in tuned[:2]] == [0.01, 0.02]
    assert all(set(trial.replicates) == {"astronaut-seed0", "astronaut-seed3"} for trial in tuned)
    rates = [trial.learning_rate or 0.0 for trial in tuned]
    best = max(tuned, key=lambda trial: trial.score.max_psnr_gt_db)
    assert plain_of(verification).learning_rate == best.learning_rate
    assert len(tuned) > 2, "one of two rates is always the first or last"
    assert best.learning_rate not in (min(rates), max(rates))


def test_the_csv_holds_every_comparison_and_its_verdict(verified: Run) -> None:
    rows = verification_rows(results(verified))
    references = {row["reference"] for row in rows}
    assert plain_of(results(verified)).name in references
    assert {"trial 2", "log10"} <= references
    assert {row["verdict"] for row in rows} <= {"better", "not worse", "not shown"}
    for row in rows:
        assert row["replicates"] == 4
        assert row["max_psnr_gt_db_low"] <= row["max_psnr_gt_db_difference"]
        assert row["psnr_gt_db_by_8"] <= row["psnr_gt_db_by_15"] <= row["psnr_gt_db_by_30"]
        assert row["seen_by_the_search"] == ""
    found = [r for r in rows if r["role"] == "found" and r["shrinkage_db"] is not None]
    assert found
    for row in found:
        assert row["output"] == "raw"
        assert row["time_ratio_low"] < row["time_ratio"] < row["time_ratio_high"]
        gain = row["search_max_psnr_gt_db_difference"]
        # On the held-out pictures, too, within the search's 30 of the 45 iterations.
        plain = results(verified).at_budgets(plain_of(results(verified)), "raw")[-1]
        assert gain - row["shrinkage_db"] == pytest.approx(row["psnr_gt_db_by_30"] - plain)


def test_a_finished_verification_is_shown_again_without_training(verified: Run) -> None:
    before = sorted(path.stat().st_mtime_ns for path in verified.folder.rglob("*.npz"))
    command = ["verify", "tiny", "--runs-dir", str(verified.folder.parent)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "the search as a whole: " in done.output
    assert "pictures held out: 2, seeds for each: 2" in done.output
    assert "written: " in done.output
    assert done.output.splitlines()[-1].endswith("report.html")
    assert (verified.folder / "verification.csv").read_text().startswith("schedule,role,trial")
    assert before == sorted(path.stat().st_mtime_ns for path in verified.folder.rglob("*.npz"))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(seeds=3), r"--seeds \[4, 5\], not \[4, 5, 6\]"),
        (Request(images=("skimage:coffee",)), "--images"),
        (Request(best="3"), "--best 2, not 3"),
        (Request(fast="3"), "--fast None, not 3"),
        (Request(claims=7), "--claims 1, not 7"),
        (Request(alpha=0.01), "--alpha 0.05, not 0.01"),
        (Request(baseline_iterations=60), "--baseline-iterations 45, not 60"),
        (Request(learning_rates=(0.5,)), "--learning-rates"),
        (Request(references=9), "--references 2, not 9"),
        (Request(smallest_db=0.3), "--smallest-db 0.2, not 0.3"),
    ],
)
def test_another_request_does_not_mix_with_one_that_has_begun(
    verified: Run, request_: Request, words: str
) -> None:
    with pytest.raises(InputError, match=words + r".* or use --restart"):
        verify(verified, request_, view=Quiet())


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request(images=("skimage:astronaut", "skimage:coffee")), "seen pictures skimage:astronau"),
        (Request(images=("skimage:coffee",), seeds=(3, 9)), "step has seen seeds 3: choose others"),
        (Request(baseline_iterations=44), "at least 45, 1.5 times the search's 30, got 44"),
        (Request(best="0"), "baseline is plain DIP, which has no stages"),
        (Request(best="9"), "has no trial 9"),
        (Request(best="baseline"), "baseline is plain DIP, which has no stages"),
        (Request(seeds=0), "--seeds must be from 1 to 10,000, got 0"),
        (Request(seeds=(4, 4)), "--seeds must be different"),
        (Request(learning_rates=(2.0,)), r"different numbers in \(0, 1\], got \[2.0\]"),
        (Request(learning_rates=(0.1, 0.1)), "--learning-rates must be different numbers"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(
    searched: Run, request_: Request, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        verify(searched, request_, view=Quiet())
    assert not verification_path(searched.folder).exists()


def test_a_search_without_a_complete_trial_has_nothing_to_verify(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(**SMALL))
    with pytest.raises(InputError, match="run 'tiny' has nothing to verify: no complete trial"):
        verify(run, REQUEST, view=Quiet())
    assert not verification_path(run.folder).exists()


def test_a_refused_restart_keeps_the_verification_that_there_is(verified: Run) -> None:
    with pytest.raises(InputError, match="has seen seeds 0"):
        verify(verified, Request(seeds=(0,), restart=True), view=Quiet())
    assert results(verified).comparisons


def test_seen_pictures_are_taken_on_request_and_named_everywhere(
    searched: Run, tmp_path: Path
) -> None:
    run = copy(searched, tmp_path)
    request = Request(
        images=("skimage:astronaut",), seeds=(0,), learning_rates=(0.01,), allow_seen=True
    )
    verify(run, request, view=Quiet())
    words = "pictures skimage:astronaut; seeds 0"
    verification = results(run)
    assert words in verification.method
    assert {row["seen_by_the_search"] for row in verification_rows(verification)} == {words}
    exported = read_schedule_file(run.export(verification.plan.trials[0]))
    assert exported.verified is not None
    assert exported.verified.seen == words.split("; ")
    done = CliRunner().invoke(main, ["verify", "tiny", "--runs-dir", str(tmp_path)])
    assert f"SEEN BY THE SEARCH: {words}" in done.output
    # One picture allows no interval, and so shows nothing.
    assert verification.verdict_of_search is Word.NOT_SHOWN


def test_restart_discards_and_begins_anew(searched: Run, tmp_path: Path) -> None:
    run = copy(searched, tmp_path)
    first = Request(images=("skimage:coffee",), seeds=1, fast="knee", learning_rates=(0.01,))
    verify(run, first, view=Quiet())
    verify(run, Request(images=("skimage:rocket",), seeds=1, fast="knee",
                        learning_rates=(0.02,), restart=True), view=Quiet())  # fmt: skip
    held_out = results(run).held_out
    assert {key for trial in held_out.records() for key in trial.replicates} == {"rocket-seed4"}
    assert plain_of(results(run)).learning_rate == 0.02


def test_default_pictures_are_unseen_and_have_the_search_s_channels(
    searched: Run, tmp_path: Path
) -> None:
    run = copy(searched, tmp_path)
    verify(run, Request(seeds=1, fast="knee", learning_rates=(0.01,)), view=Quiet())
    plan = results(run).plan
    assert plan.images == [f"skimage:{name}" for name in ("chelsea", "coffee", "hubble", "ihc")]


def test_export_prefers_what_was_shown(verified: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def judge(word: Word) -> None:
        def verdicts(_: object, groups: list[list[Comparison]]) -> list[Comparison]:
            return [replace(c, verdict=Verdict(word, word)) for group in groups for c in group]

        monkeypatch.setattr("search.verification.rules.ClaimRule.judge", verdicts)

    judge(Word.BETTER)
    assert choose(verified, "knee").trial.number == 2, "nothing else has a claim"
    judge(Word.NOT_WORSE)
    choice = choose(verified, "psnr")
    assert (choice.trial.number, choice.note) == (2, "verified: not worse")
    judge(Word.NOT_SHOWN)
    note = "no schedule was shown to be better than plain DIP, or not worse"
    assert choose(verified, "knee").note.startswith(note)
    assert choose(verified, "2").note == "verified: not shown"
    assert choose(verified, "3").note == "trial 3 itself is not verified"


def test_an_exported_schedule_carries_its_verification(verified: Run) -> None:
    exported = read_schedule_file(verified.export("2")).verified
    assert exported is not None
    comparison = results(verified).against_plain("trial 2")
    assert comparison is not None
    assert exported.verdict == str(results(verified).verdict(2))
    assert exported.iterations == 45
    assert exported.max_psnr_gt_db.mean == comparison.psnr_db.mean
    assert exported.images == ["skimage:coffee", "skimage:rocket"]
    assert exported.seeds == [4, 5]
    assert exported.n == 4
    assert exported.seen is None


def test_an_unverified_run_says_so_when_it_is_exported(searched: Run) -> None:
    command = ["export", "tiny", "--runs-dir", str(searched.folder.parent)]
    done = CliRunner().invoke(main, command)
    assert "not verified (to verify it: dipsearch verify tiny" in done.output


def test_status_shows_both_comparisons(verified: Run) -> None:
    command = ["status", "tiny", "--runs-dir", str(verified.folder.parent)]
    shown = CliRunner().invoke(main, command).stdout
    tuned = len(results(verified).tuned.records())
    assert f"tiny/learning-rate: {tuned}/{tuned} trials" in shown
    assert "tiny/verification: " in shown
    as_json = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert as_json["verification"]["tiny/learning-rate"]["complete"] == tuned


def test_a_verification_keeps_its_studies_in_a_shared_storage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    run = launch(
        experiment(**{**SMALL, "search": {"trials": 0}, "space": None}),
        runs_dir=tmp_path / "runs",
        storage=url,
    )
    alike = experiment(**{**SMALL, "name": "tiny.verification"})
    create(alike, tmp_path / "runs" / alike.name, url, {}, load_candidates(alike))
    request = Request(images=("skimage:coffee",), seeds=1, learning_rates=(0.01,))
    verify(run, request, view=Quiet())
    again = Request(images=("skimage:rocket",), seeds=1, learning_rates=(0.02,), restart=True)
    verify(run, again, view=Quiet())
    verification = Verification.open(run)
    assert verification is not None
    assert {row["role"] for row in verification_rows(verification)} == {"found", "plain"}
    # A run of the user's whose name looks like a part of the verification is left alone.
    assert Run.open("tiny.verification", tmp_path / "runs", url).records() == []
    assert verification.verdict_of_search is Word.NOT_SHOWN
    assert not list(run.folder.rglob("*.db"))


def test_the_verdict_s_words_are_plain_text(verified: Run) -> None:
    """What the CSV and the file hold is no enum's repr."""
    assert json.dumps(verification_rows(results(verified))[0]["verdict"]).startswith('"')


def test_a_comparison_is_given_where_pictures_are_and_nothing_else_of_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a notice would list what the two searches differ in."""
    made = new_run(tmp_path, experiment(name="held-out", seeds=[5]))
    seen: dict[str, Any] = {}
    monkeypatch.setattr("search.execution.driver.drive", lambda _, **given: seen.update(given))
    for chosen in ((), ("concurrent=1",)):
        resources = made.experiment.resources.model_copy(update={"concurrent": 1})
        images = ["skimage:coffee", "skimage:rocket"]
        search = experiment(images=images, search={"trials": 9})
        _Driver(Hardware(chosen), resources, "cpu", Quiet())(made, search)
        assert seen["given"].images == images
        now, _ = adopt_changes(made, seen["given"], accept=True, resources=seen["resources"])
        assert without_effect(seen["given"], now) == []
