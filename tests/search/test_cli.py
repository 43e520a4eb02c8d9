"""dipsearch as a person types it: what it prints, what it refuses, what it leaves."""

import csv
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fake_runs import CONTENT, completed, experiment, new_run

from dipstage.documents.plain_yaml import yaml_text
from dipstage.schedules.schedule_file import load_schedule
from search import Run
from search.cli import main
from search.store.paths import curve_path


def dipsearch(*arguments: str) -> Result:
    """In this process; stderr apart."""
    return CliRunner().invoke(main, list(arguments))


def on(run: Run, command: str, *arguments: str) -> Result:
    """A command on a run."""
    return dipsearch(command, run.name, "--runs-dir", str(run.folder.parent), *arguments)


@pytest.mark.long
def test_status_says_what_is_done_and_how_to_go_on(played: Run, tmp_path: Path) -> None:
    result = on(played, "status")
    assert result.exit_code == 0
    assert "6/6 trials" in result.stdout
    as_json = json.loads(on(played, "status", "--json").stdout)
    assert (as_json["complete"], as_json["failed"], as_json["driver"]) == (5, 1, None)
    waiting = on(new_run(tmp_path / "new", experiment()), "status")
    assert "no driver is running; continue with: dipsearch resume tiny" in waiting.stdout


def test_trials_lists_every_trial_and_writes_every_column(played: Run, tmp_path: Path) -> None:
    shown = on(played, "trials").stdout
    assert all(name in shown for name in ("baseline", "log10", "trial 2", "failed", "diverged"))
    path = tmp_path / "trials.csv"
    assert on(played, "trials", "--csv", str(path)).exit_code == 0
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert len(rows) == 6
    assert float(rows[2]["max_psnr_gt_db"]) == 27.0
    assert rows[2]["param_stages"]


def test_trials_writes_a_row_for_each_replicate(played: Run, tmp_path: Path) -> None:
    path = tmp_path / "replicates.csv.gz"
    assert on(played, "trials", "--replicates", "--csv", str(path)).exit_code == 0
    rows = list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))
    wanted = [(t.name, key) for t in played.records() for key in t.replicates]
    assert [(r["name"], f"{r['picture']}-seed{r['seed']}") for r in rows] == wanted
    for trial in played.records():
        for key, replicate in trial.replicates.items():
            row = rows[wanted.index((trial.name, key))]
            assert float(row["smoothed_max_psnr_gt_db"]) == replicate.smoothed.max_psnr_gt_db
            assert int(row["raw_steps_to_max"]) == replicate.raw.steps_to_max
    refused = on(played, "trials", "--replicates")
    assert refused.exit_code == 2
    assert "--replicates needs a file: name one with --csv FILE" in refused.stderr


def test_pareto_shows_the_front_beside_the_candidates(played: Run, tmp_path: Path) -> None:
    shown = on(played, "pareto").stdout
    assert "front of 3" in shown
    assert "dominated by log10, trial 2" in shown
    members = json.loads(on(played, "pareto", "--json").stdout)
    assert [(m["name"], m["on_front"]) for m in members] == [
        ("trial 3", True), ("log10", True), ("trial 2", True), ("baseline", False),
    ]  # fmt: skip
    result = on(
        played, "pareto", "--csv", str(tmp_path / "p.csv"), "--plot", str(tmp_path / "p.svg")
    )
    assert result.exit_code == 0
    assert result.output == f"written: {tmp_path / 'p.csv'}\nwritten: {tmp_path / 'p.svg'}\n"
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 1 + 4
    assert "<svg" in (tmp_path / "p.svg").read_text()


def test_export_writes_a_schedule_that_dipstage_reads(played: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    result = on(played, "export", "--pick", "steps", "--output", str(path))
    verify = f"not verified (to verify it: dipsearch verify tiny --runs-dir {played.folder.parent})"
    assert result.stdout == f"trial 3 written to {path}; {verify}\n"
    assert load_schedule(path) == completed(played, played.records()[3])
    assert on(played, "export").exit_code == 0
    assert (played.folder / "best.yaml").exists()


EXPERIMENT_ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown key": ({"colour": "red"}, "colour: unknown key"),
    "low > high": (
        {"space": {**CONTENT["space"], "stages": {"low": 9, "high": 2}}},
        "space.stages: low must be at most high",
    ),
    "stages 0": (
        {"space": {**CONTENT["space"], "stages": {"low": 0, "high": 2}}},
        "space.stages: must be at least 1, got low 0",
    ),
    "exponent NaN": (
        {"space": {**CONTENT["space"], "exponent": {"low": float("nan"), "high": 2.0}}},
        "space.exponent.low: ",
    ),
    "a budget smaller than the ramp": (
        {"trainer": {**CONTENT["trainer"], "iterations": 20}},
        "space.ramp.high must be less than trainer.iterations, 20, got 25",
    ),
    "an unknown preset": ({"candidates": ["log11"]}, "unknown preset 'log11'"),
    "a missing picture": ({"images": ["none.png"]}, "none.png' does not exist"),
    "a missing schedule file": ({"candidates": ["none.yaml"]}, "none.yaml does not exist"),
    "a picture smaller than the multiple": (
        {"images": ["small.png"], "size": None, "trainer": {"iterations": 30, "scales": 5}},
        "is 20 × 20, smaller than the network's multiple 32",
    ),
    "a text file named .png": ({"images": ["text.png"]}, "is not a PNG, JPEG, TIFF or WebP"),
    "a schedule file with unsorted levels": (
        {"candidates": ["unsorted.yaml"]},
        "stages must go from the most noise to the least",
    ),
    "a run name with a slash": ({"name": "a/b"}, "name: must be letters"),
}


@pytest.mark.parametrize("case", sorted(EXPERIMENT_ERRORS))
def test_a_wrong_experiment_gets_one_sentence_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    import numpy as np
    from written_pictures import save_png

    monkeypatch.chdir(tmp_path)
    change, words = EXPERIMENT_ERRORS[case]
    (tmp_path / "text.png").write_text("words")
    save_png(tmp_path / "small.png", np.zeros((3, 20, 20), np.float32))
    (tmp_path / "unsorted.yaml").write_text(
        "format: 1\niterations: 3\nstages:\n"
        "- {alpha_bar: 0.9, iterations: 1, share: 0.3333333333333333}\n"
        "- {alpha_bar: 0.1, iterations: 1, share: 0.3333333333333333}\n"
        "- {alpha_bar: 1, iterations: 1, share: 0.3333333333333333}\n"
    )
    (tmp_path / "e.yaml").write_text(yaml_text({**CONTENT, **change}))
    result = dipsearch("launch", "e.yaml")
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["launch", "none.yaml"], "none.yaml does not exist"),
        (["launch", "broken.yaml"], "broken.yaml, line 1: not YAML"),
        (["launch", "e.yaml"], "run 'tiny' exists in runs"),
        (["launch", "e.yaml", "--name", "stray"], "stray exists but is not a run: remove it"),
        (["launch", "e.yaml", "--name", "a/b"], "name: must be letters"),
        (["launch", "e.yaml", "--name", "../up"], "name: must be letters"),
        (["launch", "e.yaml", "--name", "x", "--trials", "-1"], "search.trials: "),
        (["launch", "e.yaml", "--name", "x", "--concurrent", "0"], "resources.concurrent"),
        (["launch", "e.yaml", "--name", "x", "--set", "size"], "--set must be KEY=VALUE"),
        (["resume", "none"], "run 'none' does not exist in runs"),
        (["resume", "../tiny"], "'../tiny' is neither a run's name nor a path"),
        (["resume", "tiny", "--trials", "-1"], "--trials must be at least 0, got -1"),
        (["resume", "tiny", "--trials", "1"], "--trials must be at least the 4"),
        (["status", "none"], "run 'none' does not exist in runs"),
        (["trials", "none"], "run 'none' does not exist in runs"),
        (["trials", "tiny", "--csv", "no/such/folder.csv"], "cannot be written"),
        (["pareto", "none"], "run 'none' does not exist in runs"),
        (["pareto", "tiny"], "has no complete trial yet"),
        (["export", "none"], "run 'none' does not exist in runs"),
        (["export", "tiny"], "has no complete trial yet"),
        (["export", "tiny", "--pick", "7"], "has no trial 7"),
        (["status", "far", "--storage", "mad://u@h/d"], "no database address"),
        (["status", "tiny", "--storage", "postgresql://u:pw@h/d"], "--storage holds a password"),
        (["status", "tiny", "--storage", "postgresql://h/d?Password=x"], "--storage holds a pass"),
        (["status", "far", "--storage", "postgresql://u@127.0.0.1:1/d"], "Connection refused"),
        (["status", "tiny", "--runs-dir", "gone://b/p"], "is not a known kind of address"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_requests_get_one_sentence_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    new_run(tmp_path / "runs", experiment())
    (tmp_path / "e.yaml").write_text(yaml_text(CONTENT))
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "runs" / "stray").mkdir()
    (tmp_path / "runs" / "far").mkdir()  # Its study is in a database.
    shutil.copy(tmp_path / "runs" / "tiny" / "experiment.yaml", tmp_path / "runs" / "far")
    before = sorted(tmp_path.rglob("*"))
    result = dipsearch(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "secret" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    after = [path for path in sorted(tmp_path.rglob("*")) if path.name != "driver.lock"]
    assert after == before


def test_a_password_on_the_command_line_is_refused_although_the_environment_has_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = "postgresql://u:pw@127.0.0.1:1/d"
    monkeypatch.setenv("DIPSEARCH_STORAGE", address)
    result = dipsearch("status", "tiny", "--storage", address)
    assert result.exit_code == 2
    assert "--storage holds a password, which process lists show" in result.stderr


def test_pareto_answers_which_schedule_suits_a_budget(played: Run, tmp_path: Path) -> None:
    for trial in played.records():
        for key in trial.replicates:
            values = np.linspace(0, 20 + trial.number, 30, dtype=np.float32)
            path = curve_path(played.folder, trial.number, key)
            np.savez_compressed(path, psnr_gt_raw_db=values, psnr_gt_smoothed_db=values)
    shown = on(played, "pareto", "--budget", "10").stdout
    assert "best for 10 iterations: trial 5; export it with --pick 5" in shown
    rows = json.loads(on(played, "pareto", "--budget", "10", "--json").stdout)
    assert [row["trial"] for row in rows] == [5, 3, 2, 1, 0]
    assert rows[0]["attained_psnr_gt_db"] == pytest.approx(25 * 9 / 29, abs=1e-5)
    path = tmp_path / "budget.csv"
    assert on(played, "pareto", "--budget", "10", "--csv", str(path)).exit_code == 0
    assert path.read_text().count("\n") == 6
    refused = on(played, "pareto", "--budget", "99")
    assert (refused.exit_code, refused.stderr.strip()) == (
        2, "main: --budget must be from 1 to the search's 30, got 99",
    )  # fmt: skip
    plot = tmp_path / "budget.svg"
    assert on(played, "pareto", "--budget", "9", "--plot", str(plot)).exit_code == 0
    assert "envelope" in plot.read_text()
    assert on(played, "pareto", "--budget", "9", "--plot", "a.gif").exit_code == 2


@pytest.mark.long
def test_a_path_to_a_run_is_taken_for_its_name(
    played: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = played.folder
    for path in (str(folder), f"{folder}/"):
        for command in ("status", "trials", "pareto", "export", "report"):
            result = dipsearch(command, path)
            assert result.exit_code == 0, result.output
    assert (
        dipsearch("plot", str(folder), "front", "--output", str(tmp_path / "f.svg")).exit_code == 0
    )
    copy = tmp_path / "more" / "copy"
    shutil.copytree(folder, copy)
    assert dipsearch("compare", str(folder), str(copy)).exit_code == 0
    monkeypatch.chdir(folder)
    assert dipsearch("status", ".").stdout.startswith("tiny: 6/6 trials")
    monkeypatch.chdir(tmp_path)
    # A name in the folder of runs comes first, and then the path of that name.
    assert dipsearch("status", "tiny").stdout.startswith("tiny: 6/6 trials")
    waiting = new_run(tmp_path / "runs", experiment())
    shown = dipsearch("status", "tiny").stdout
    assert shown.startswith("tiny: 0/6 trials")
    assert "continue with: dipsearch resume tiny\n" in shown
    shown = dipsearch("status", str(waiting.folder)).stdout
    assert f"dipsearch resume tiny --runs-dir {tmp_path}/runs\n" in shown


def test_the_environment_names_the_folder_of_runs(
    played: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIPSEARCH_RUNS_DIR", str(tmp_path))
    new_run(tmp_path / "other", experiment())
    assert dipsearch("status", "tiny").stdout.startswith("tiny: 6/6 trials")
    assert Run.open("tiny").folder == played.folder
    given = dipsearch("status", "tiny", "--runs-dir", str(tmp_path / "other")).stdout
    assert f"dipsearch resume tiny --runs-dir {tmp_path}/other" in given
    shutil.copytree(tmp_path / "other" / "tiny", tmp_path / "waiting")
    assert "dipsearch resume waiting\n" in dipsearch("status", "waiting").stdout
