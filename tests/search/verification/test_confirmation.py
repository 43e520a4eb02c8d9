"""Confirmation: which schedules are trained again, which are picked, and what is refused."""

import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import skimage.data
from click.testing import CliRunner
from PIL import Image
from played_verification import compared, forbid_training, gains, interrupt, searched, verified
from verified_runs import copy

from dipstage.errors import InputError
from search import Run
from search.cli import main
from search.execution.view import Quiet
from search.verification.confirmation import (
    Confirmation,
    best_schedules,
    confirmed_candidates,
)
from search.verification.declared import Request
from search.verification.drive import confirm
from search.verification.export import choose
from search.verification.parts import CONFIRMATION
from search.verification.plan import begin, comparison, new_plan
from search.verification.statistics import Difference

IMAGES = tuple(f"skimage:{name}" for name in ("coins", "moon", "grass", "page", "gravel", "brick"))


def confirm_played(run: Run, **found: tuple[float, int]) -> Confirmation:
    """A confirmation on six pictures and two seeds; schedules are above plain DIP by these."""
    experiment = comparison(run, CONFIRMATION, images=list(IMAGES), seeds=[2, 3])
    compared(run, CONFIRMATION, experiment, confirmed_candidates(run, 8), gains(**found))
    confirmation = Confirmation.open(run)
    assert confirmation is not None
    return confirmation


@pytest.mark.long
def test_the_front_goes_first_and_is_filled_up_by_the_next(tmp_path: Path) -> None:
    records = searched(tmp_path).records()
    assert [t.number for t in best_schedules(records, 8)] == [5, 2, 3]
    assert [t.number for t in best_schedules(records, 2)] == [5, 2]


@pytest.mark.long
def test_a_confirmation_without_a_pick_asks_for_names(tmp_path: Path) -> None:
    run = searched(tmp_path)
    found = confirm_played(run, trial_5=(-0.5, 8), trial_2=(-0.1, 7), trial_3=(-0.6, 5))
    assert found.picked == {}
    with pytest.raises(InputError, match=r"found no schedule that is faster .* --fast or --best"):
        new_plan(run, Request(images=("skimage:text",)))
    plan = new_plan(run, Request(images=("skimage:text",), fast="2"))
    assert plan.declared is not None
    assert [(c.trial, c.endpoint) for c in plan.declared.claims] == [(2, "time")]


@pytest.mark.long
def test_the_fastest_of_equal_psnr_and_the_highest_of_equal_time_are_verified(
    tmp_path: Path,
) -> None:
    run = searched(tmp_path)
    assert Confirmation.open(run) is None
    found = confirm_played(run, trial_5=(-0.5, -15), trial_2=(0.1, -12), trial_3=(0.6, -5))
    assert found.picked == {"time": 2, "psnr": 3}
    assert found.success.startswith("of 3 schedules, 2 have a higher mean max PSNR_GT than plain")
    plan = new_plan(run, Request(images=("skimage:text",)))
    assert plan.declared is not None
    assert [(c.trial, c.endpoint) for c in plan.declared.claims] == [(2, "time"), (3, "psnr")]
    with pytest.raises(InputError, match="an earlier step has seen pictures skimage:coins"):
        begin(run, Request(images=("skimage:coins",)))


@pytest.mark.long
@pytest.mark.parametrize("is_confirmation", [True, False])
def test_a_copy_of_a_picture_of_an_earlier_step_counts_as_seen(
    tmp_path: Path, is_confirmation: bool
) -> None:
    run = searched(tmp_path)
    path = tmp_path / "copy.jpg"
    Image.fromarray(skimage.data.coins()).save(path)
    request = Request(images=(str(path), "skimage:text"), fast="2", restart=not is_confirmation)
    _, pictures = begin(run, replace(request, restart=False))
    assert len(pictures) == 2
    if is_confirmation:
        confirm_played(run, trial_5=(-0.5, -15))
    else:
        verified(run, gains())
    with pytest.raises(
        InputError, match=r"has seen pictures .*copy\.jpg \(a copy of skimage:coins"
    ):
        begin(run, request)


@pytest.mark.long
def test_an_unfinished_confirmation_chooses_nothing_and_its_pictures_are_used(
    tmp_path: Path,
) -> None:
    run = searched(tmp_path)
    confirm_played(run, trial_5=(-0.5, -15), trial_2=(0.1, -12), trial_3=(0.6, -5))
    interrupt(run, CONFIRMATION)
    words = f"confirmation of 'tiny' has not ended: .* dipsearch confirm tiny --runs-dir {tmp_path}"
    with pytest.raises(InputError, match=words):
        new_plan(run, Request(images=("skimage:text",)))
    with pytest.raises(InputError, match=words):
        choose(run, "fast")
    assert new_plan(run, Request(images=("skimage:text",), fast="knee")).trials == [2]
    with pytest.raises(InputError, match="an earlier step has seen pictures skimage:coins"):
        begin(run, Request(images=("skimage:coins",), fast="knee"))


@pytest.mark.parametrize(("sure", "picked"), [(True, "sure"), (False, "lucky")])
def test_the_fastest_has_something_in_hand_if_it_can(sure: bool, picked: str) -> None:
    """Two schedules that are higher on the mean: `lucky` is faster, but lower on some pictures."""

    def compared(name: str, gains: list[float], log_ratio: float) -> Any:
        differences = {
            "psnr_db": Difference.of({str(i): [gain] for i, gain in enumerate(gains)}),
            "log_ratio": Difference.of({str(i): [log_ratio] for i in range(len(gains))}),
        }
        return SimpleNamespace(schedule=name, **differences)

    gains = [0.1, 0.2, 0.3, 0.2] if sure else [-0.1, 0.2, 0.3, -0.2]
    both = [compared("lucky", [0.9, -0.5, 0.4, -0.3], -0.5), compared("sure", gains, -0.3)]
    found = Confirmation(made=None, comparisons=both, source={}).pick("time")  # type: ignore[arg-type]
    assert found is not None
    assert found.schedule == picked


@pytest.mark.long
def test_a_schedule_that_is_only_lower_or_slower_is_not_picked(tmp_path: Path) -> None:
    found = confirm_played(
        searched(tmp_path), trial_5=(-0.5, -5), trial_2=(-0.5, 5), trial_3=(-0.4, 8)
    )
    assert found.pick("time") is None
    assert [c.schedule for c in [found.pick("psnr")] if c] == ["trial 5"]


def confirm_with_failures(run: Run, failing: tuple[str, ...], finished: int = 2) -> Confirmation:
    """A confirmation in which schedules diverge after some of their twelve replicates."""
    score = gains(trial_5=(-0.5, -15), trial_2=(0.1, -12), trial_3=(0.6, -5))
    begun: Counter[str] = Counter()

    def failing_score(name: str, key: str) -> tuple[float, int] | str:
        begun[name] += 1
        return "diverged" if name in failing and begun[name] > finished else score(name, key)

    experiment = comparison(run, CONFIRMATION, images=list(IMAGES), seeds=[2, 3])
    compared(run, CONFIRMATION, experiment, confirmed_candidates(run, 8), failing_score)
    confirmation = Confirmation.open(run)
    assert confirmation is not None
    return confirmation


@pytest.mark.long
@pytest.mark.parametrize("finished", [0, 2])
def test_nothing_is_compared_with_a_plain_dip_that_failed(tmp_path: Path, finished: int) -> None:
    run = searched(tmp_path)
    assert confirm_with_failures(run, ("plain DIP",), finished).comparisons == []
    done = CliRunner().invoke(main, ["confirm", "tiny", "--runs-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    words = f"plain DIP failed after {finished} of 12 replicates"
    assert f"{words}, so it is not compared: diverged" in shown
    assert f"to be verified as faster: none, because {words}" in shown
    assert "of 0 schedules" not in shown
    with pytest.raises(InputError, match=f"'tiny', {words}: name .* with --fast or --best"):
        new_plan(run, Request(images=("skimage:text",)))


@pytest.mark.long
def test_a_schedule_that_failed_is_named_and_not_picked(tmp_path: Path) -> None:
    run = searched(tmp_path)
    found = confirm_with_failures(run, ("trial 2",))
    assert [each.schedule for each in found.comparisons] == ["trial 5", "trial 3"]
    assert found.picked == {"time": 3, "psnr": 3}
    done = CliRunner().invoke(main, ["confirm", "tiny", "--runs-dir", str(tmp_path)])
    shown = " ".join(done.output.split())
    assert "of 2 schedules" in shown
    assert "trial 2 failed after 2 of 12 replicates, so it is not compared: diverged" in shown


@pytest.mark.long
def test_a_confirmation_of_which_every_schedule_failed_says_so(tmp_path: Path) -> None:
    run = searched(tmp_path)
    found = confirm_with_failures(run, ("trial 2", "trial 3", "trial 5"))
    assert found.obstacle == "every schedule failed"
    with pytest.raises(InputError, match="'tiny', every schedule failed: name what is"):
        new_plan(run, Request(images=("skimage:text",)))


@pytest.mark.long
def test_too_few_or_seen_pictures_and_a_late_confirmation_are_refused(tmp_path: Path) -> None:
    run = searched(tmp_path)
    with pytest.raises(InputError, match=r"--images must name at least 6 pictures .*, got 2"):
        confirm(run, IMAGES[:2], view=Quiet())
    with pytest.raises(InputError, match=r"nosuch.png'? does not exist"):
        confirm(run, ("nosuch.png",), view=Quiet())
    for number in range(5):  # One pattern names as many pictures as match it.
        Image.new("L", (32, 32), 50 * number).save(tmp_path / f"{number}.png")
    shutil.copy(tmp_path / "4.png", tmp_path / "5.png")
    with pytest.raises(InputError, match=r"at least 6 pictures .*, got 5"):
        confirm(run, (f"{tmp_path}/[0-4].png",), view=Quiet())
    with pytest.raises(InputError, match="are the same picture"):
        confirm(run, (f"{tmp_path}/[0-5].png",), view=Quiet())
    seen = ("skimage:camera", *IMAGES)
    with pytest.raises(InputError, match=r"has seen pictures skimage:camera: choose others$"):
        confirm(run, seen, view=Quiet())
    with pytest.raises(InputError, match=r"has seen seeds 1: choose others$"):
        confirm(run, IMAGES, (1, 7), view=Quiet())
    verified(run, gains())
    with pytest.raises(InputError, match="a verification already: a confirmation comes before"):
        confirm(run, IMAGES, view=Quiet())


@pytest.mark.long
def test_a_confirmation_that_has_begun_is_not_asked_to_be_another_one(tmp_path: Path) -> None:
    run = searched(tmp_path)
    for none in (0, ()):
        with pytest.raises(InputError, match=r"--seeds must be .*, got (0|\[\])"):
            confirm(run, IMAGES, none, view=Quiet())
    confirm_played(run, trial_5=(-0.5, -15), trial_2=(0.1, -12), trial_3=(0.6, -5))
    begun = "'tiny' has a confirmation with "
    for seeds, top, refusal in (
        ((2, 4), None, "--seeds [2, 3], not [2, 4]: leave the option out to continue it"),
        (3, None, "--seeds [2, 3], not [2, 3, 4]: leave the option out"),
        (0, None, "--seeds must be from 1 to"),
        ((2, 3), 2, "--top 3, not 2: leave the option out"),
    ):
        message = refusal if "must" in refusal else begun + refusal
        with pytest.raises(InputError, match=re.escape(message)):
            confirm(run, IMAGES, seeds, top, view=Quiet())
    with pytest.raises(InputError, match=re.escape(f"{begun}--images ['skimage:coins', ")):
        confirm(run, IMAGES[:3], view=Quiet())


@pytest.mark.long
def test_a_finished_confirmation_is_shown_without_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = searched(tmp_path)
    confirm_played(run, trial_5=(-0.5, -15), trial_2=(0.1, -12), trial_3=(0.6, -5))
    forbid_training(monkeypatch)
    done = CliRunner().invoke(main, ["confirm", "tiny", "--runs-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "to be verified as faster: trial 2" in done.output


@pytest.mark.usefixtures("one_process")
def test_a_confirmation_is_trained_shown_and_not_trained_twice(
    searched: Run, tmp_path: Path
) -> None:
    run = copy(searched, tmp_path)
    command = ["confirm", "tiny", "--runs-dir", str(tmp_path)]
    given = [word for name in ("brick", "chelsea", "coffee", "hubble", "ihc", "rocket")
             for word in ("--images", f"skimage:{name}")]  # fmt: skip
    done = CliRunner().invoke(main, [*command, *given, "--seeds", "1"])
    assert done.exit_code == 0, done.output
    assert "schedules, " in done.output
    assert "to be verified as faster: " in done.output
    confirmation = Confirmation.open(run)
    assert confirmation is not None
    before = sorted(path.stat().st_mtime_ns for path in run.folder.rglob("*.npz"))
    for same in ([], [*given, "--seeds", "1", "--top", "8"]):
        assert CliRunner().invoke(main, [*command, *same]).exit_code == 0
    assert before == sorted(path.stat().st_mtime_ns for path in run.folder.rglob("*.npz"))
    other = CliRunner().invoke(main, [*command, "--images", "skimage:brick"])
    assert "has a confirmation with --images ['skimage:brick', 'skimage:chelsea'" in other.output


@pytest.mark.long
def test_the_confirmed_schedules_are_exported_by_their_claims(tmp_path: Path) -> None:
    run = searched(tmp_path)
    trials = {which: choose(run, which).trial.number for which in ("fast", "best", "knee", "psnr")}
    assert trials["fast"] == trials["knee"]
    assert trials["best"] == trials["psnr"]
    confirm_played(run, trial_5=(-0.5, -15), trial_2=(0.1, -12), trial_3=(0.6, -5))
    assert choose(run, "fast").trial.number == 2
    assert choose(run, "best").trial.number == 3
    done = CliRunner().invoke(
        main, ["export", "tiny", "--runs-dir", str(tmp_path), "--pick", "best"]
    )
    assert done.output.startswith("trial 3 written to ")
    verified(run, gains(), claims={5: "time"})
    assert choose(run, "fast").trial.number == 5, "what is claimed"
    with pytest.raises(InputError, match="verification of 'tiny' claims no schedule to be higher"):
        choose(run, "best")


@pytest.mark.long
def test_an_endpoint_that_the_confirmation_leaves_open_is_not_exported(tmp_path: Path) -> None:
    run = searched(tmp_path)
    confirm_played(run, trial_5=(-0.5, -5), trial_2=(-0.5, 5), trial_3=(-0.4, 8))
    assert choose(run, "best").trial.number == 5
    with pytest.raises(InputError, match="confirmation of 'tiny' claims no schedule to be faster"):
        choose(run, "fast")


@pytest.mark.long
def test_an_interrupt_before_the_confirmation_suggests_no_command_that_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = searched(tmp_path)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("search.verification.drive.confirm", interrupted)
    confirm = ["confirm", "tiny", "--runs-dir", str(tmp_path)]
    result = CliRunner().invoke(main, confirm)
    assert result.exit_code == 130
    assert result.stderr == "interrupted before the confirmation began; nothing has changed\n"
    confirm_played(run)
    interrupt(run, CONFIRMATION)
    result = CliRunner().invoke(main, confirm)
    assert result.exit_code == 130
    assert f"continue with: dipsearch confirm tiny --runs-dir {tmp_path}\n" in result.stderr
    [line] = result.stdout.splitlines()
    assert line.startswith("tiny/confirmation: 4/5 trials, ")
