"""Searches and resumes: what the driver passes on to trials, records and refuses."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_runs import experiment, new_run, play

from dipstage.errors import InputError
from dipstage.pictures.images import load_picture
from dipstage.schedules.schedule_file import read_schedule_file
from search import Run, launch, resume
from search.store.attributes import write

pytestmark = pytest.mark.usefixtures("one_process")


def test_resume_goes_on_to_more_trials_and_not_to_fewer(tmp_path: Path) -> None:
    small = experiment(images=["skimage:moon"], seeds=[0], search={"trials": 2})
    launch(small, runs_dir=tmp_path)
    longer = resume("tiny", trials=5, runs_dir=tmp_path)
    assert len(longer.records()) == 7
    params = [str(trial.params) for trial in longer.records()[2:]]
    assert len(set(params)) == 5
    assert len(resume("tiny", runs_dir=tmp_path).records()) == 7
    with pytest.raises(InputError, match="at least the 5 that run 'tiny' was asked for, got 3"):
        resume("tiny", trials=3, runs_dir=tmp_path)
    with pytest.raises(InputError, match="--trials must be at most 1,000,000, got 1,000,001"):
        resume("tiny", trials=1_000_001, runs_dir=tmp_path)


def test_a_run_with_nothing_left_is_resumed_without_ray(tmp_path: Path) -> None:
    play(new_run(tmp_path, experiment()), lambda number: (20.0 + number, 5))
    program = (
        "import sys, search; run = search.resume('tiny', runs_dir=sys.argv[1]); "
        "print(len(run.records()), 'ray' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("6 False\n", "")


@pytest.mark.parametrize("refused_by", ["cluster.ray_cluster", "resources.resources_of"])
def test_a_refused_resume_leaves_the_run_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused_by: str
) -> None:
    run = play(new_run(tmp_path, experiment()), lambda number: (20.0 + number, 5))
    write(run.study, ended="--finish was asked for")
    path = run.folder / "experiment.yaml"
    path.write_text(path.read_text().replace("concurrent: auto", "concurrent: 3"))

    def kept() -> tuple[object, bytes]:
        again = Run.open("tiny", tmp_path)
        return again.study.user_attrs, path.read_bytes()

    def refuse(*_: object, **__: object) -> None:
        raise InputError("nobody listens there")

    before = kept()
    monkeypatch.setattr(f"search.execution.{refused_by}", refuse)
    with pytest.raises(InputError, match="nobody listens there"):
        resume("tiny", trials=9, hours=2, runs_dir=tmp_path, accept_changes=True)
    assert kept() == before
    assert before[0]["trials"] == 4  # type: ignore[index]


def test_resume_refuses_a_picture_that_has_changed(tmp_path: Path) -> None:
    import shutil

    from written_pictures import save_png

    path = tmp_path / "a.png"
    save_png(path, load_picture("skimage:moon", size=32, multiple=2).pixels)
    launch(
        experiment(
            images=[str(path)],
            seeds=[0],
            candidates=["baseline"],
            space=None,
            search={"trials": 0},
        ),
        runs_dir=tmp_path / "runs",
    )
    save_png(tmp_path / "b.png", load_picture("skimage:coins", size=32, multiple=2).pixels)
    shutil.move(tmp_path / "b.png", path)
    digests = r"SHA-256 \w{12}… → \w{12}…"
    with pytest.raises(InputError, match=rf"not what it was when run 'tiny' began \({digests}\)"):
        resume("tiny", runs_dir=tmp_path / "runs")
    with pytest.raises(InputError, match="has no space to sample from"):
        resume("tiny", trials=9, runs_dir=tmp_path / "runs")
    assert Run.open("tiny", tmp_path / "runs").trials_wanted == 0


def test_a_diverged_trial_fails_with_its_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    """Input noise beyond what float32 holds makes the first loss NaN."""
    broken = experiment(
        images=["skimage:moon"],
        seeds=[0],
        candidates=["baseline"],
        search={"trials": 2},
        trainer={"iterations": 30, "width": 4, "scales": 1, "input_noise_std": 1e38},
    )
    run = launch(broken, runs_dir=tmp_path)
    assert [trial.state for trial in run.records()] == ["failed"] * 3
    reason = re.compile(r"diverged on moon-seed0 after \d+ iterations")
    assert all(reason.fullmatch(str(trial.failure)) for trial in run.records())
    assert not run.front()


def test_a_study_of_another_run_in_the_same_storage_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    small = experiment(images=["skimage:moon"], seeds=[0], search={"trials": 0})
    run = launch(small, runs_dir=tmp_path / "a", storage=url)
    assert len(run.front()) >= 1
    assert not (run.folder / "study.db").exists()
    with pytest.raises(InputError, match="has a study 'tiny' already"):
        launch(small, runs_dir=tmp_path / "b", storage=url)
    assert not (tmp_path / "b").exists()
    assert url not in (run.folder / "experiment.yaml").read_text()


def test_the_learning_rate_is_searched_on_request(tmp_path: Path) -> None:
    run = launch(
        experiment(
            images=["skimage:moon"],
            seeds=[0],
            candidates=["baseline"],
            search={"trials": 2},
            space={
                **experiment().model_dump()["space"],
                "learning_rate": {"low": 1e-3, "high": 1e-2},
            },
        ),
        runs_dir=tmp_path,
    )
    rates = [trial.learning_rate for trial in run.records()]
    assert rates[0] == 0.01
    assert rates[1] != rates[2]
    assert all(rate is not None and 1e-3 <= rate <= 1e-2 for rate in rates[1:])


def test_steps_to_a_tolerance_are_read_off_the_curves(tmp_path: Path) -> None:
    run = launch(
        experiment(
            images=["skimage:moon"],
            seeds=[0],
            search={"trials": 0},
            objective={"output": "raw", "tolerance_db": 0.5},
        ),
        runs_dir=tmp_path,
    )
    trial = run.records()[0]
    curve = run.curves(trial, "moon-seed0")["psnr_gt_raw_db"]
    first = int(np.flatnonzero(curve >= curve.max() - np.float32(0.5))[0])
    assert trial.values is not None
    assert trial.values[1] == first <= curve.argmax()
    assert run.trials()["steps_to_tolerance"][0] == first
    assert run.trials()["raw_steps_to_max"][0] == curve.argmax()
    exported = read_schedule_file(run.export("0"))
    assert exported.measured is not None
    assert exported.measured.tolerance_db == 0.5
    assert exported.measured.raw.steps_to_tolerance is not None
    assert exported.measured.raw.steps_to_tolerance.mean == first


def test_the_experiment_s_warm_up_reaches_the_trainer(tmp_path: Path) -> None:
    trainer = {**experiment().model_dump()["trainer"], "warmup": 20}
    small = {
        "images": ["skimage:moon"], "seeds": [0], "candidates": ["baseline"],
        "search": {"trials": 0},
    }  # fmt: skip
    plain = launch(experiment(**small), runs_dir=tmp_path / "plain").records()[0]
    warm = launch(experiment(**small, trainer=trainer), runs_dir=tmp_path / "warm").records()[0]
    assert plain.replicates["moon-seed0"].raw != warm.replicates["moon-seed0"].raw
