"""What goes to a cluster: all that the search needs, nothing else, and a line that is quoted."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
from fake_runs import CONTENT, experiment, new_run, play
from written_pictures import save_png

from dipstage.documents.plain_yaml import yaml_text
from dipstage.errors import InputError
from dipstage.schedules.presets import parse_preset
from dipstage.schedules.schedule_file import ScheduleFile, save_schedule
from search.commands.cluster import job_address
from search.execution.learning import learn
from search.experiment.model import Experiment
from search.experiment.prepare import load_candidates, load_pictures
from search.experiment.reading import load_experiment
from search.remote import upload
from search.remote.upload import Submission


def picture(path: Path, seed: int) -> None:
    """A small PNG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(path, np.random.default_rng(seed).random((3, 20, 20), dtype=np.float32))


@pytest.fixture
def mine(tmp_path: Path) -> Experiment:
    """Two files of one name, a glob, a name that looks like one, a schedule file."""
    home = tmp_path / "home"
    for seed, name in enumerate(
        ("a/x.png", "b/x.png", "more/1.png", "more/2.png", "c/it's [1].png")
    ):
        picture(home / name, seed)
    pages = np.random.default_rng(9).integers(0, 256, (2, 20, 20), dtype=np.uint8)
    tifffile.imwrite(home / "pages.tif", pages, photometric="minisblack")
    save_schedule(home / "mine.yaml", ScheduleFile(parse_preset("log10").schedule(30)))
    content = {
        **CONTENT,
        "images": [
            "a/x.png",
            "b/x.png",
            "more/*.png",
            "c/it's [1].png",
            "skimage:camera",
            "pages.tif#page=2",
        ],
        "candidates": ["baseline", "mine.yaml", "sharp-linear:stages=5,x=2"],
    }
    (home / "e.yaml").write_text(yaml_text(content))
    return load_experiment(home / "e.yaml")


def test_labels_candidates_and_pixels_are_what_they_would_be_here(
    mine: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload.check(mine)
    (tmp_path / "sent").mkdir()
    upload.pack_search(mine, tmp_path / "sent")
    here = {label: p.digest for label, p in load_pictures(mine).items()}
    # There, nothing of the laptop's is left, and the folder is another.
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "sent").rename(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "there")
    arrived = load_experiment(Path("experiment.yaml"))
    assert {label: p.digest for label, p in load_pictures(arrived).items()} == here
    assert list(load_pictures(arrived)) == list(here)
    assert [c.name for c in load_candidates(arrived)] == [
        "baseline", "mine", "sharp-linear:stages=5,x=2",
    ]  # fmt: skip
    assert str(tmp_path) not in Path("experiment.yaml").read_text()


def test_the_upload_holds_what_is_needed_and_no_more(mine: Experiment, tmp_path: Path) -> None:
    folder = tmp_path / "sent"
    folder.mkdir()
    upload.pack_search(mine, folder)
    assert {path.name for path in folder.iterdir()} == {
        "experiment.yaml", "pictures", "candidates", "dipstage", "search",
    }  # fmt: skip
    for package in ("dipstage", "search"):
        files = [path for path in (folder / package).rglob("*") if path.is_file()]
        assert files
        assert ".pyc" not in {path.suffix for path in files}
    assert sum(path.is_file() for path in (folder / "pictures").rglob("*")) == 6


@pytest.mark.long
def test_the_runs_to_learn_from_are_sent_without_curves_and_learned_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, there = tmp_path / "home", tmp_path / "there"
    earlier = play(new_run(home / "runs", experiment()), lambda number: (25.0 + number, 20))
    search = {"trials": 2, "learn_from": [str(earlier.folder), "only-there"]}
    new = experiment(name="new", search=search)
    [notice] = upload.check(new)
    assert notice.startswith("search.learn_from: there is no run 'only-there' here")
    there.mkdir()
    upload.pack_search(new, there)
    shutil.rmtree(home)
    copied = [path.relative_to(there) for path in there.glob("learn_from/**/*") if path.is_file()]
    assert sorted(map(str, copied)) == [
        "learn_from/000/tiny/experiment.yaml", "learn_from/000/tiny/study.db",
    ]  # fmt: skip
    # The study in the folder counts, although the head has a database for others.
    monkeypatch.setenv("DIPSEARCH_STORAGE", "postgresql://nobody@localhost:1/none")
    arrived = load_experiment(there / "experiment.yaml")
    assert arrived.search.learn_from[1] == "only-there"
    sent = arrived.search.model_copy(update={"learn_from": arrived.search.learn_from[:1]})
    arrived = arrived.model_copy(update={"search": sent})
    [learned] = learn(arrived, load_candidates(arrived), tmp_path / "runs", None)
    assert (learned.run, len(learned.points)) == ("tiny", 4)


def test_runs_that_cannot_be_learned_from_are_refused_before_anything_is_sent(
    tmp_path: Path,
) -> None:
    earlier = play(new_run(tmp_path, experiment()), lambda number: (25.0 + number, 20))
    learn_from = {"trials": 2, "learn_from": [str(earlier.folder)]}
    with pytest.raises(InputError, match=r"search\.learn_from: objective\.output of 'tiny'"):
        upload.check(experiment(objective={"output": "smoothed"}, search=learn_from))
    nowhere = {"trials": 2, "learn_from": [str(tmp_path / "nowhere")]}
    with pytest.raises(InputError, match=r"search\.learn_from: .* is neither a run's name nor a"):
        upload.check(experiment(search=nowhere))


def test_a_folder_of_mlflow_is_said_to_stay_on_the_head(tmp_path: Path) -> None:
    logged = experiment(logging={"mlflow": str(tmp_path / "mlruns")})
    [notice] = upload.check(logged)
    assert notice.startswith(f"logging.mlflow: the cluster's head writes to its own {tmp_path}")


def as_the_head_reads(line: str, tmp_path: Path, home: str) -> list[str]:
    """The arguments that a shell hands to `python`."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python").write_text('#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done\n')
    (tools / "python").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        env={"PATH": str(tools), "HOME": home},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("runs_dir", "there"),
    [
        ("dipsearch-runs", "/home/some one/dipsearch-runs"),
        ("~/runs", "/home/some one/runs"),
        ("/data/it's; rm -rf $HOME", "/data/it's; rm -rf $HOME"),
        ("$(id) `id`", "/home/some one/$(id) `id`"),
        ("s3://bucket/a b", "s3://bucket/a b"),
    ],
)
def test_the_entrypoint_is_one_command_whatever_the_folder_is_called(
    tmp_path: Path, runs_dir: str, there: str
) -> None:
    line = Submission(experiment(), runs_dir).entrypoint
    assert as_the_head_reads(line, tmp_path, "/home/some one") == [
        "-m", "search.cli", "launch", "experiment.yaml", "--address", "auto",
        "--runs-dir", there,
    ]  # fmt: skip


def test_a_resume_names_the_run_and_the_experiment_that_was_sent(tmp_path: Path) -> None:
    line = Submission(experiment(), resume=True, trials=9, hours=0.5).entrypoint
    assert as_the_head_reads(line, tmp_path, "/h") == [
        "-m", "search.cli", "resume", "tiny", "--experiment", "experiment.yaml",
        "--trials=9", "--hours=0.5", "--address", "auto", "--runs-dir", "/h/dipsearch-runs",
    ]  # fmt: skip


def test_a_folder_that_holds_credentials_is_refused() -> None:
    with pytest.raises(InputError, match="contains credentials") as refused:
        Submission(experiment(), "s3://key:hidden@bucket/runs")
    assert "hidden" not in str(refused.value)


def test_status_knows_jobs_from_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = "http://head:8265"
    monkeypatch.delenv("DIPSEARCH_ADDRESS", raising=False)
    assert job_address("tiny-3f2a91c0", None, tmp_path) is None
    assert job_address("tiny", there, tmp_path) == there
    monkeypatch.setenv("DIPSEARCH_ADDRESS", there)
    assert job_address("tiny", None, tmp_path) is None
    assert job_address("tiny-3f2a91c0", None, tmp_path) == there
    (tmp_path / "tiny-3f2a91c0").mkdir()
    assert job_address("tiny-3f2a91c0", None, tmp_path) is None
