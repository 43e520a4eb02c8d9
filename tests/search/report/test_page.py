"""The report without a browser: what it says, what it shows, what it escapes."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from click.testing import CliRunner
from fake_runs import KEYS, experiment, new_run, outcome
from played_verification import gains, searched, verified
from reported_runs import keep_files, play_with_files
from verified_runs import copy

from dipstage.training.outcome import Stop
from search import Run
from search.analysis.status import status_of
from search.cli import main
from search.commands.reporting import make_report
from search.execution.ledger import Ledger
from search.presentation.verdicts import rows_against_presets, standings
from search.report import fitting, page, pictures
from search.report.advice import advise
from search.store.lease import leased
from search.store.paths import curve_path, picture_path
from search.store.records import plain_of
from search.store.replicate import Replicate, Selection
from search.store.run import RunRecord
from search.terminal.tables import state_words
from search.verification.result import Verification

pytestmark = pytest.mark.long

SCORES: dict[int, tuple[float, int] | str] = {
    0: (25.0, 20), 1: (26.0, 19), 2: (27.0, 18), 3: (24.0, 10), 4: "diverged", 5: (27.0, 25),
}  # fmt: skip


@pytest.fixture(scope="module")
def played_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two candidates and four sampled trials with curves and pictures; trial 4 failed."""
    made = new_run(tmp_path_factory.mktemp("played"), experiment())
    play_with_files(made, SCORES.__getitem__).storage.engine.dispose()
    return made


@pytest.fixture
def run(played_run: Run, tmp_path: Path) -> Run:
    """A copy of that run."""
    return copy(played_run, tmp_path)


def data_of(html: str) -> dict[str, object]:
    """What the charts are drawn from."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    content: dict[str, object] = json.loads(found[1])
    return content


def test_curves_in_the_report_have_their_maxima_where_the_means_have_them(run: Run) -> None:
    data = data_of(page.make(run).text)
    trials = data["trials"]
    assert isinstance(trials, list)
    for trial, shown in zip(run.records(), trials, strict=True):
        curves = [run.curves(trial, key)["psnr_gt_raw_db"] for key in trial.replicates]
        mean = np.mean(curves, axis=0)
        x, y = shown["curve"]["x"], shown["curve"]["raw"]
        assert x[int(np.argmax(y))] == int(mean.argmax())
        assert max(y) == round(100 * float(mean.max()))
        assert shown["curve"]["attained"][-1] == round(
            100 * float(np.mean([curve.max() for curve in curves]))
        )
        switches = set(trial.schedule.starts[1:]) if trial.schedule else set()
        assert switches <= set(x)


def test_the_envelope_leaves_out_what_violates_a_constraint_as_in_the_figure(
    tmp_path: Path,
) -> None:
    run = new_run(tmp_path, experiment(objective={"max_steps": 20}))
    play_with_files(run, lambda number: (25.0 + number, 25 if number in (1, 5) else 15))
    drawn = np.asarray(run.plot_attainment().axes[0].lines[0].get_ydata(), np.float64)
    envelope = data_of(page.make(run).text)["envelope"]
    assert isinstance(envelope, dict)
    assert envelope["attained"][-1] == round(100 * float(drawn[-1]))


def headline(run: Run, driver: bool = False) -> tuple[str, str, str]:
    """Headline, verdict and all sentences of the first screen."""
    advice = advise(run, run.records(), status_of(run), Verification.open(run), driver)
    return advice.headline, advice.word, " ".join(advice.sure)


def test_an_unverified_search_says_so_and_gives_no_interval(run: Run) -> None:
    first, word, sure = headline(run)
    assert first == "Trial 2 looks best, but that is not verified"
    assert word == "not verified"
    assert "2.00 dB above plain DIP's (baseline), reached 2 iterations sooner" in sure
    assert sure.startswith("It is the trial with the front's highest PSNR. In the search itself, ")
    assert "interval" not in sure
    html = page.make(run).text
    assert "+2.00" in html
    assert "[95&nbsp;%]" not in html
    assert "so they are optimistic" in sure


def test_verdicts_decide_the_headline(tmp_path: Path) -> None:
    better = gains(trial_2=(0.5, -10), trial_3=(-0.5, -10), trial_5=(0.5, 10))
    first, word, sure = headline(Run.of(verified(searched(tmp_path / "a"), better).run))
    assert (first, word) == ("Use trial 2: it is better than plain DIP", "better")
    assert "0.50 dB above plain DIP's (95 % interval" in sure
    assert "reaches the common target in 0." in sure
    trade = gains(trial_2=(0.5, 10), trial_3=(-0.5, -10), trial_5=(0.5, 10), log10=(-0.5, 5))
    first, word, sure = headline(Run.of(verified(searched(tmp_path / "b"), trade).run))
    assert first == "Stay with plain DIP: no schedule is shown to be better"
    assert word == "not shown"
    assert "it is worse in one objective, and no gain in the other is significant" in sure
    same = gains(trial_2=(0.02, 0), trial_3=(0.02, 0), trial_5=(0.02, 0))
    run = Run.of(verified(searched(tmp_path / "c"), same).run)
    first, word, _ = headline(run)
    assert word in ("not worse", "better")
    assert first.startswith(("Trial ", "Use trial "))


@pytest.mark.parametrize(
    ("is_declared", "words"),
    [
        (True, "A single picture allows no interval, so no schedule can be better: verify anew on"),
        (False, "1 replicates allow no p below 1 after Holm's correction, so no schedule can be"),
    ],
)
def test_too_few_replicates_to_show_anything_are_said_on_top(
    tmp_path: Path, is_declared: bool, words: str
) -> None:
    verification = verified(
        searched(tmp_path), gains(trial_2=(0.5, -10)), seeds=[2], images=["skimage:coins"]
    )
    if not is_declared:
        verification = replace(verification, plan=replace(verification.plan, declared=None))
    run = Run.of(verification.run)
    advice = advise(run, run.records(), status_of(run), verification, driver=False)
    assert f"{words} " in " ".join(advice.sure)


def test_an_empty_and_a_running_search_name_no_schedule_too_early(tmp_path: Path) -> None:
    empty = new_run(tmp_path, experiment())
    assert headline(empty) == (
        "There is no schedule to use yet",
        "",
        "The search is not finished and is not running: 0 of 6 trials have ended. "
        "No trial has ended yet.",
    )
    play_with_files(empty, lambda number: (25.0 + number, 20), leave=2)
    first, _, sure = headline(empty.reread(), driver=True)
    assert first == "Trial 3 looks best so far, but that is not verified"
    assert "The search is running: 4/6 trials" in sure
    states = ["complete"] * 4 + ["running"] * 2
    assert [trial.state for trial in empty.records()] == states
    with leased(empty.storage, "tiny", "a driver"):
        assert states_in(empty) == states
    assert states_in(empty) == ["complete"] * 4 + ["unfinished"] * 2, "nobody trains them"


def states_in(run: Run) -> list[str]:
    """The states of the trials in the report; the table in a terminal has the same."""
    trials = cast("list[dict[str, str]]", data_of(page.make(run).text)["trials"])
    states = [trial["state"] for trial in trials]
    driven = run.driver() is not None
    assert states == [state_words(trial, driven=driven) for trial in run.records()]
    return states


def test_advice_is_of_the_trials_that_the_data_have(tmp_path: Path) -> None:
    growing = new_run(tmp_path, experiment())
    ledger = Ledger(growing.study, growing.experiment, KEYS)
    read = []
    for score in ((25.0, 20), (26.0, 10)):
        work = ledger.next()
        assert work is not None
        for key in KEYS:
            ledger.record(work.number, key, outcome(*score))
        ledger.finish(work.number, None)
        read.append((growing.records(), status_of(growing)))
    advised = [advise(growing, *each, None, True).number for each in read]
    assert advised == [0, 1]


def test_data_hold_no_html_whatever_a_text_says() -> None:
    text = fitting.embed(["</script><!-- & <b>", "\u2028", "é"])
    assert not set("<>&") & set(text)
    assert json.loads(text) == ["</script><!-- & <b>", "\u2028", "é"]


def test_the_policy_lets_these_scripts_run_and_nothing_else() -> None:
    policy = page.policy(["a()"])
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    assert "http" not in policy


def test_curves_and_pictures_that_are_missing_or_foreign_are_told_of(run: Run) -> None:
    curve_path(run.folder, 1, "chelsea-seed0").write_bytes(b"PK\x03\x04cut off")
    picture_path(run.folder, 0, "chelsea-seed0").write_bytes(b"<svg onload=alert(1)>")
    picture_path(run.folder, 2, "chelsea-seed0").unlink()
    html = page.make(run).text
    assert "The curves of log10 are not in the run" in html
    assert "A picture of baseline cannot be shown" in html
    assert "svg onload" not in html
    groups = data_of(html)["pictures"]
    assert isinstance(groups, list)
    assert [group["title"] for group in groups] == ["chelsea, seed 0", "camera, seed 0"]
    assert set(groups[0]["outputs"]) == {"1", "3", "4", "5"}
    assert set(groups[1]["outputs"]) == {"0", "1", "2", "3", "4", "5"} - {"4"}


def test_ground_truth_that_has_moved_or_changed_is_not_shown(run: Run, tmp_path: Path) -> None:
    pictures = dict(run.study.user_attrs["pictures"])
    run.study.set_user_attr("pictures", {**pictures, "chelsea": "0" * 64})
    html = page.make(run).text
    assert "chelsea is not the picture that it was" in html
    groups = data_of(html)["pictures"]
    assert isinstance(groups, list)
    assert groups[0]["truth"] is None
    assert groups[1]["truth"]["src"].startswith("data:image/png;base64,")
    plain = run.study.user_attrs["experiment"]
    moved = {**plain, "images": [str(tmp_path / "gone.png"), "skimage:camera"]}
    run.study.set_user_attr("experiment", moved)
    html = page.make(run.reread()).text
    assert "The ground truth is not where the experiment says" in html
    assert str(tmp_path) not in html, "folders are nobody else's business"


def test_an_observation_without_noise_has_no_psnr(tmp_path: Path) -> None:
    tiny = experiment(task={"kind": "denoise", "sigma_255": 0.0})
    clean = play_with_files(new_run(tmp_path, tiny), SCORES.__getitem__)
    groups = data_of(page.make(clean).text)["pictures"]
    assert isinstance(groups, list)
    assert groups[0]["observation"]["words"] == ""


def test_no_picture_is_read_after_the_room_is_used_up(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = pictures.sources(run, run.records(), plain_of(run.records()), None)
    whole = pictures.gather(found, [2], "raw", 10**9)
    small = sum(
        fitting.size({**group, "outputs": {2: group["outputs"][2]}}) for group in whole.groups
    )
    read: list[bytes] = []
    cut = pictures._cut

    def counted(content: bytes) -> bytes:
        read.append(content)
        return cut(content)

    monkeypatch.setattr(pictures, "_cut", counted)
    tight = pictures.gather(found, [2], "raw", small + 1)
    assert [list(group["outputs"]) for group in tight.groups] == [[2], [2]]
    assert len(tight.notes) == 1
    assert len(read) == 5, "plain DIP and the first of both pictures, and one that does not fit"


def test_a_report_tells_nobody_where_a_search_is_logged(run: Run) -> None:
    server, folder = "http://mlflow.internal:5000", "/home/me/secret-project/mlruns"
    logging = {"tensorboard": True, "mlflow": server, "wandb": "our-project"}
    plain = {**run.study.user_attrs["experiment"], "logging": logging}
    run.study.set_user_attr("experiment", plain)
    changes = [f"logging.mlflow {folder} → {server}", "racing.enabled True → False"]
    run.study.set_user_attr("accepted", [{"date": "2026-01-01", "changes": changes}])
    html = page.make(run.reread()).text
    for private in (server, "mlflow.internal", folder, "our-project"):
        assert private not in html
    assert "logging.mlflow; racing.enabled True → False" in html
    assert "tensorboard: true" in html


def test_pictures_give_way_where_the_page_would_be_too_large(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = page.make(run).text
    limit(monkeypatch, 20_000)
    small = page.make(run).text
    assert len(small) < len(whole)
    assert "Not all pictures fit this file" in small
    assert "Not all pictures fit this file" not in whole


def limit(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Leave so many bytes for the data of a page, and nothing beyond them."""
    monkeypatch.setattr(page, "MAX_BYTES", len(page.plotly().encode()) + room)
    monkeypatch.setattr(page, "MIN_ROOM", 0)


def test_what_does_not_fit_is_said_and_is_not_missing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, runs_dir = run.report(), str(run.folder.parent)
    assert page.lacks(path.read_text()) == 0
    limit(monkeypatch, 8_000)
    done = CliRunner().invoke(main, ["report", "tiny", "--runs-dir", runs_dir])
    assert done.exit_code == 0, done.output
    assert done.stderr.splitlines() == [
        "not shown: staircases and curves of 4 trials, because they do not fit into 10 MB; "
        "dipsearch plot draws them",
        "not shown: some pictures, because they do not fit into 10 MB; all are in "
        f"{run.folder / 'pictures'}",
    ]
    html = path.read_text()
    assert page.lacks(html) == 0
    assert "The staircases and curves of 4 trials do not fit this file." in html
    assert "come first, then those of the highest max PSNR_GT." in html
    data = data_of(html)
    assert data["pictures"] == []
    trials = cast("list[dict[str, object]]", data["trials"])
    assert [trial["n"] for trial in trials if trial["curve"]] == [0, 2], "the advised, plain DIP"
    assert len(html) < page.MAX_BYTES + 80_000
    for number in (0, 2):
        for label in ("chelsea", "camera"):
            picture_path(run.folder, number, f"{label}-seed0").unlink()
    assert page.make(run).missing == [], "the pictures of other trials are there"
    for picture in (run.folder / "pictures").iterdir():
        picture.unlink()
    assert page.make(run).missing == [
        f"outputs of trials, because they are not in {run.folder / 'pictures'}"
    ]


def test_5000_trials_are_below_10_megabytes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    few, files = run.records(), dict.fromkeys(KEYS, 2)
    behind = replace(few[2], values=(20.0, 25.0), taken=files)
    many = few + [replace(behind, number=number) for number in range(6, 5000)]
    curves = run.curves(few[2], KEYS[0])
    monkeypatch.setattr(RunRecord, "records", lambda _: many)
    monkeypatch.setattr(RunRecord, "curves", lambda *_: curves)
    made = page.make(run)
    assert 9_000_000 < len(made.text.encode()) < 10_000_000
    assert made.lacks == 0
    assert "staircases and curves of" in made.left_out[0]


def test_a_trial_takes_less_than_700_bytes_without_its_staircase_and_curves(run: Run) -> None:
    trials = cast("list[dict[str, object]]", data_of(page.make(run).text)["trials"])
    assert all(fitting.size(fitting.without_details(trial)) < 700 for trial in trials)


def test_trials_that_do_not_fit_are_left_out_from_the_last_complete_one_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_of(page.make(run).text)
    trials = cast("list[dict[str, object]]", data["trials"])
    best = {0, 1, 2, 3}
    few = [fitting.without_details(trial) for trial in trials if trial["n"] in best]
    assert len(few) < len(trials)
    added_later = dict.fromkeys(("unrepeatable", "repeats", "pictures"))
    small = {key: value for key, value in data.items() if key not in added_later}
    # With a comma after each trial.
    limit(monkeypatch, fitting.size({**small, "trials": few}) + 1)
    made = page.make(run)
    shown = data_of(made.text)
    listed = cast("list[dict[str, object]]", shown["trials"])
    assert {trial["n"] for trial in listed} == best, "the front and the candidates"
    assert shown["front"] == data["front"]
    assert "2 trials do not fit this file, so neither the charts nor" in made.text
    assert made.left_out[0].startswith("2 trials, because they do not fit into 10 MB")
    assert made.lacks == 0


def test_the_command_writes_where_it_is_told_and_names_the_path(run: Run, tmp_path: Path) -> None:
    runs_dir = str(run.folder.parent)
    done = CliRunner().invoke(main, ["report", "tiny", "--runs-dir", runs_dir])
    assert done.output == f"written: {run.folder / 'report.html'}\n"
    other = tmp_path / "r.html"
    done = CliRunner().invoke(
        main, ["report", "tiny", "--runs-dir", runs_dir, "--output", str(other)]
    )
    assert done.exit_code == 0
    assert other.read_text().startswith("<!doctype html>")
    done = CliRunner().invoke(
        main, ["report", "tiny", "--runs-dir", runs_dir, "--output", str(tmp_path / "no" / "r")]
    )
    assert done.exit_code == 2
    assert "cannot be written" in done.output


def test_a_report_that_shows_more_is_kept_until_the_pictures_are_named(
    run: Run, tmp_path: Path
) -> None:
    runs_dir = str(run.folder.parent)
    whole = run.report().read_text()
    assert page.lacks(whole) == 0
    plain = run.study.user_attrs["experiment"]
    moved = {**plain, "images": [str(tmp_path / "gone.png"), "skimage:camera"]}
    run.study.set_user_attr("experiment", moved)
    done = CliRunner().invoke(main, ["report", "tiny", "--runs-dir", runs_dir])
    assert done.exit_code == 2
    assert "shows more than a report could now, so it is kept" in done.output
    assert "ground truth and observation of chelsea, camera in tiny, because" in done.output
    assert "gone.png" in done.output
    assert (run.folder / "report.html").read_text() == whole
    other = ["--output", str(tmp_path / "less.html")]
    done = CliRunner().invoke(main, ["report", "tiny", "--runs-dir", runs_dir, *other])
    assert done.exit_code == 0
    assert "not shown: ground truth and observation of chelsea" in done.stderr
    assert page.lacks((tmp_path / "less.html").read_text()) == 2
    named = ["--images", "skimage:chelsea", "--images", "skimage:camera"]
    done = CliRunner().invoke(main, ["report", "tiny", "--runs-dir", runs_dir, *named])
    assert done.output == f"written: {run.folder / 'report.html'}\n"
    assert page.lacks((run.folder / "report.html").read_text()) == 0
    assert page.lacks("<p>a page of somebody else</p>") is None


def test_a_report_that_fails_costs_a_search_one_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> str:
        raise RuntimeError("no\nway")

    monkeypatch.setattr(page, "make", fail)
    make_report(run)
    said = capsys.readouterr()
    assert said.err == "dipsearch: the report could not be written (RuntimeError: no way)\n"
    assert not (run.folder / "report.html").exists()


def replicate_of(number: int) -> Replicate:
    """Sampled schedules have a higher and later maximum than the candidates. However, they are
    sooner at 24 dB, and EMV stops them sooner and at a lower PSNR_GT.
    """
    is_sampled = number >= 2
    found = outcome(26.0, 25) if is_sampled else outcome(25.0, 20)
    raw = replace(
        found.raw,
        steps_to_target=9 if is_sampled else 19,
        max_ssim_gt=0.7624 if is_sampled else 0.75,
    )
    selected = Selection(9, 11, 23.0 - is_sampled, 25.0 - is_sampled)
    stop, iterations = (Stop.MINIMUM, 22) if is_sampled else (Stop.BUDGET, 30)
    return replace(found, raw=raw, selected=selected, stop=stop, iterations=iterations)


def searched_for(runs_dir: Path, objective: dict[str, object]) -> Run:
    """A run of these replicates with an objective."""
    run = new_run(runs_dir, experiment(objective=objective))
    ledger = Ledger(run.study, run.experiment, KEYS)
    while (work := ledger.next()) is not None:
        for key in KEYS:
            ledger.record(work.number, key, replicate_of(work.number))
        ledger.finish(work.number, None)
    return run


@pytest.mark.parametrize(
    ("objective", "headers", "differences"),
    [
        ({}, ("dB above", "steps after"), ("+1.00", "+5")),
        (
            {"target_psnr_gt_db": 24},
            ("difference in max PSNR_GT (dB)", "difference in steps to 24 dB"),
            ("+1.00", "-10"),
        ),
        (
            {"stop": "emv"},
            ("difference in PSNR_GT at EMV stop (dB)", "difference in steps to EMV stop"),
            ("-1.00", "-8"),
        ),
        (
            {"metric": "ssim", "against": "seconds"},
            ("difference in max SSIM_GT", "difference in seconds to max SSIM"),
            ("+0.012", "+0.4"),
        ),
    ],
)
def test_differences_are_of_what_was_searched_and_say_so(
    objective: dict[str, object],
    headers: tuple[str, str],
    differences: tuple[str, str],
    tmp_path: Path,
) -> None:
    run = searched_for(tmp_path, objective)
    records = run.records()
    for rows in (standings(run, records, None), rows_against_presets(run, records, None)):
        [row] = [row for row in rows if row.name == "trial 2"]
        assert (row.gain, row.time) == differences
    html = page.make(run).text
    for header in headers:
        against = header.replace("difference", "difference from plain DIP")
        assert f"{against if objective else f'{header} plain DIP'}</th>" in html
        assert f"{header}</th>" in html


@pytest.mark.parametrize(
    ("output", "words"), [("raw", "22.00 dB at 9"), ("smoothed", "24.00 dB at 11")]
)
def test_pictures_that_a_rule_selected_have_the_scores_of_what_is_shown(
    output: str, words: str, tmp_path: Path
) -> None:
    run = searched_for(tmp_path, {"stop": "emv", "output": output})
    for trial in run.records():
        for key, replicate in trial.replicates.items():
            keep_files(run, trial.number, key, replicate, picture=key.endswith("seed0"))
    html = page.make(run).text
    groups = data_of(html)["pictures"]
    assert isinstance(groups, list)
    assert groups[0]["outputs"]["2"]["words"] == words
    assert " at ≥ " in groups[0]["plain"]["words"], "the budget ended, and not the rule"
    assert f"Each output is the one that EMV selected ({output} output)." in html
    assert "shown at its own maximum" not in html


def test_the_hypervolume_has_the_digits_that_suit_its_unit(tmp_path: Path) -> None:
    ssim: dict[str, object] = {"metric": "ssim"}
    for name, objective, words in (
        ("a", {}, "53.3 dB · iterations"),
        ("c", ssim, "0.0496 max SSIM_GT · iterations"),
    ):
        html = page.make(searched_for(tmp_path / name, objective)).text
        assert f"Hypervolume grew to {words} in 6 trials." in html


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("ssim", "Gain in max SSIM_GT grew to 0.0124 in 6 trials. The gain is that of the best "
                 "trial over that of the worst trial."),
        ("psnr", " dB in 6 trials. The gain is that of the best trial over 20.17 dB."),
    ],
)  # fmt: skip
def test_with_one_objective_a_report_speaks_of_the_best_trial(
    metric: str, words: str, tmp_path: Path
) -> None:
    objective = {"metric": metric, "against": "none", "max_steps": 26}
    html = page.make(searched_for(tmp_path, objective)).text
    assert words in html
    shown = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)
    shown = shown.replace("dipsearch docs reading-the-front", "")
    texts = [*re.findall(r">([^<]+)<", shown), *re.findall(r'aria-label="([^"]+)"', shown)]
    assert [text for text in texts if re.search(r"front\b|hypervolume", text, re.I)] == []
    assert "Best trial: " in html
    assert "The best trial was selected by these same numbers" in html
    data = data_of(html)
    assert (data["member_words"], data["other_words"]) == ("the best", "behind")
