"""What machines do to a search: full and read-only disks, locked files, memory, failing trials."""

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from counts import assert_exact
from fake_runs import experiment, new_run, outcome, play
from one_process import one_process
from processes import dipsearch, finish, kill, processes_in, wait_until

from dipstage.errors import WorkError
from search import Run, launch, resume
from search.execution.ledger import Ledger
from search.execution.view import Quiet
from search.store.lease import leased
from search.store.run import RunRecord
from search.store.storage import open_storage

SMALL = {
    "images": ["skimage:moon"],
    "search": {"trials": 4},
    "trainer": {"iterations": 40, "width": 8, "scales": 2},
}
NAMED = r"(/tiny/curves/\S+ cannot be written|/tiny/study\.db failed): "
"""How the message of a disk that takes nothing names the file."""


class Once(Quiet):
    """Does something once, after the first trial is complete."""

    def __init__(self, action: Callable[[RunRecord], object]) -> None:
        self._action, self.done = action, False

    def update(self, run: RunRecord) -> None:
        """See `View`."""
        if not self.done and any(trial.state == "complete" for trial in run.records()):
            self.done = True
            self._action(run)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB, with room for the results of a search."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"needs the right to mount: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until nothing fits any more."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return path


@pytest.mark.usefixtures("ray_session")
def test_a_full_disk_ends_the_search_and_a_resume_goes_on(small_disk: Path) -> None:
    once = Once(lambda run: fill(small_disk))
    full = r"(No space left on device|disk is full|disk I/O error)"
    with pytest.raises(WorkError, match=rf"{NAMED}.*{full}"):
        launch(experiment(**SMALL), runs_dir=small_disk, view=once)
    assert once.done
    assert not list((small_disk / "tiny" / "curves").glob(".*"))
    (small_disk / "filler").unlink()
    kept = {p.name: p.stat().st_mtime_ns for p in (small_disk / "tiny" / "curves").iterdir()}
    before = Run.open("tiny", small_disk).records()
    with one_process():
        run = resume("tiny", runs_dir=small_disk)
    assert_exact(run)
    now = {p.name: p.stat().st_mtime_ns for p in (run.folder / "curves").iterdir()}
    finished = sum(len(trial.replicates) for trial in before)
    assert sum(now[name] == kept[name] for name in kept) >= finished > 0


@pytest.fixture
def sealed() -> Iterator[Callable[[Path], None]]:
    """Takes the right to change a folder away, root's too where the file system can."""
    folders = []

    def seal(folder: Path) -> None:
        folders.append(folder)
        folder.chmod(0o555)
        if os.geteuid() == 0:
            subprocess.run(["chattr", "+i", str(folder)], check=False, capture_output=True)
        try:
            (folder / "probe").touch()
        except OSError:
            return
        pytest.skip("root may write everywhere on this file system")

    yield seal
    for folder in folders:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", str(folder)], check=False, capture_output=True)
        folder.chmod(0o755)


@pytest.mark.usefixtures("one_process")
def test_a_run_folder_that_becomes_read_only_ends_the_search(
    tmp_path: Path, sealed: Callable[[Path], None]
) -> None:
    def seal(run: RunRecord) -> None:
        sealed(run.folder / "curves")
        sealed(run.folder)

    once = Once(seal)
    with pytest.raises(
        WorkError,
        match=rf"{NAMED}.*(not permitted|denied|Read-only|readonly|unable to open|disk I/O)",
    ):
        launch(experiment(**SMALL), runs_dir=tmp_path, view=once)
    # What is there can be read without the right to write.
    assert Run.open("tiny", tmp_path).front()
    for folder in (tmp_path / "tiny", tmp_path / "tiny" / "curves"):
        subprocess.run(["chattr", "-i", str(folder)], check=False, capture_output=True)
        folder.chmod(0o755)
    assert_exact(resume("tiny", runs_dir=tmp_path))


@pytest.mark.ray
@pytest.mark.slow
def test_files_that_may_not_grow_end_the_search_with_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(experiment(**SMALL).yaml())
    driver = dipsearch("launch", str(path), runs_dir=tmp_path / "runs")
    wait_until(lambda: len(list((tmp_path / "runs" / "tiny" / "curves").glob("*.npz"))) > 0, 120)
    psutil.Process(driver.pid).rlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    output, _ = driver.communicate(timeout=120)
    assert driver.returncode == 1
    assert re.search(rf"{NAMED}.*resume the search once this is fixed$", output.splitlines()[-1])
    assert "Traceback" not in output
    assert not list((tmp_path / "runs").rglob("*.tmp"))
    assert finish("resume", "tiny", runs_dir=tmp_path / "runs")[0] == 0
    assert_exact(Run.open("tiny", tmp_path / "runs"))


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("patience", [60.0, 0.5])
def test_a_study_that_another_process_locks_is_waited_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    monkeypatch.setattr("search.store.storage._LOCKED_S", patience)
    threads = []

    def lock(run: RunRecord) -> None:
        other = sqlite3.connect(run.folder / "study.db", check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")

        def let_go() -> None:
            time.sleep(2)
            other.close()

        threads.append(threading.Thread(target=let_go))
        threads[0].start()

    once = Once(lock)
    if patience < 2:
        with pytest.raises(WorkError, match="database is locked"):
            launch(experiment(**SMALL), runs_dir=tmp_path, view=once)
        threads[0].join()
        assert_exact(resume("tiny", runs_dir=tmp_path))
    else:
        assert_exact(launch(experiment(**SMALL), runs_dir=tmp_path, view=once))
        threads[0].join()


STARVED = """
import resource, psutil, json
from search.experiment.reading import validate
from search.experiment.prepare import load_pictures
from search.execution.trainable import ScheduleTrial
from search.execution.training import Setting
from search.execution.work import Work
from dipstage.schedules.schedule import Schedule
import sys
experiment = validate(json.loads(sys.argv[1]), "test")
pictures, trainer, objective = load_pictures(experiment), experiment.trainer, experiment.objective
setting = Setting(pictures, (0,), experiment.task, trainer, objective, 1, "cpu")
trial = ScheduleTrial.__new__(ScheduleTrial)
trial.setup({"work": Work(0, Schedule.plain(3))}, setting)
used = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (used + 100 * 2**20, resource.RLIM_INFINITY))
print(json.dumps(trial.step()))
"""


@pytest.mark.long
def test_a_training_that_runs_out_of_memory_says_so(tmp_path: Path) -> None:
    """For real: the process may have 100 MiB more than it has, and needs several hundred."""
    large = experiment(
        images=["skimage:moon"], size=512, seeds=[0], space=None, search={"trials": 0},
        trainer={"iterations": 3, "width": 64, "scales": 2},
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", STARVED, json.dumps(large.model_dump(mode="json"))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["out_of_memory"] is True
    assert result["done"] is True
    assert "on moon-seed0: " in result["failure"]


@pytest.mark.usefixtures("ray_session")
def test_trials_out_of_memory_get_a_machine_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: whoever shares the machine has no memory."""
    from search.execution import tuning
    from search.execution.trainable import ScheduleTrial

    class Greedy(ScheduleTrial):
        """Needs all CPUs of the session's Ray."""

        def step(self) -> dict[str, Any]:
            """As a GPU that is full would have it, unless the trial is alone."""
            import ray

            if ray.get_runtime_context().get_assigned_resources()["CPU"] < 2:
                return {"done": True, "failure": "CUDA out of memory", "out_of_memory": True}
            result: dict[str, Any] = super().step()
            return result

    monkeypatch.setattr(tuning, "ScheduleTrial", Greedy)
    two = experiment(**{**SMALL, "seeds": [0], "candidates": ["log10"], "search": {"trials": 1}})
    run = launch(two, runs_dir=tmp_path)
    assert_exact(run)
    alone = [trial.user_attrs.get("alone") for trial in run.study.get_trials()]
    assert alone == ["CUDA out of memory"] * 2


def test_a_trial_that_is_out_of_memory_is_tried_again_alone_and_last(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment())
    ledger = Ledger(run.study, run.experiment, ["k"])
    first = ledger.next()
    assert first is not None
    ledger.out_of_memory(first.number, "OutOfMemoryError on k: CUDA out of memory")
    order = []
    while (work := ledger.next()) is not None:
        order.append((work.number, work.alone))
        if work.alone:
            # A driver that dies here leaves it to the next, which still runs it alone.
            ledger = Ledger(run.study, run.experiment, ["k"])
            again = ledger.next()
            assert again is not None
            assert (again.number, again.alone) == (first.number, True)
            ledger.out_of_memory(work.number, "OutOfMemoryError on k: CUDA out of memory")
        else:
            ledger.record(work.number, "k", outcome(25.0, 10))
            ledger.finish(work.number, None)
    assert order[-1] == (first.number, True)
    assert [alone for _, alone in order[:-1]] == [False] * 5
    failed = run.records()[first.number]
    assert failed.state == "failed"
    assert failed.failure == "OutOfMemoryError on k: CUDA out of memory, alone on its device"


@pytest.mark.ray
def test_a_worker_that_ray_ended_for_memory_is_tried_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.execution import tuning

    monkeypatch.setattr(tuning, "forget_heartbeat", lambda trial_id: None)
    said = "1 worker(s) were killed due to the node running low on memory. Memory on the node …"
    (tmp_path / "error.txt").write_text(f"Failure # 1\n{said}\nRefer to the documentation …\n")
    run = new_run(tmp_path, experiment())
    with leased(run.storage, "tiny", "run 'tiny'") as lease:
        ledger = Ledger(run.study, run.experiment, ["k"])
        searcher = tuning.StudySearcher(run, ledger, lease)
        searcher.suggest("a")
        dead = SimpleNamespace(trial_id="a", error_file=str(tmp_path / "error.txt"))
        tuning.Watch(run, searcher, Quiet(), lease, []).on_trial_error(1, [], dead)
    assert run.study.get_trials()[0].user_attrs["alone"] == said
    assert "deaths" not in run.study.get_trials()[0].user_attrs


@pytest.mark.ray
@pytest.mark.parametrize(
    ("told", "checks"),
    [("on_trial_complete", 1), ("worker_died", 1), ("is_raced", 2), ("on_trial_result", 2)],
)
def test_a_driver_that_has_lost_its_lease_writes_nothing_about_a_trial(
    tmp_path: Path, told: str, checks: int
) -> None:
    """Also if it lost it while it wrote the curves of a replicate."""
    from search.execution import tuning

    run = new_run(tmp_path, experiment())
    held = iter(range(checks))

    def check() -> None:
        if next(held, None) is None:
            raise WorkError("run 'tiny' was taken over")

    lease: Any = SimpleNamespace(check=check)
    searcher = tuning.StudySearcher(run, Ledger(run.study, run.experiment, ["k"]), lease)
    searcher.suggest("a")
    before = run.study.get_trials()
    replicate = {"replicate": ["k"], "outcome": [outcome(25.0, 10)], "curves": [b"x"]}
    what = {"on_trial_complete": None, "worker_died": "killed"}.get(told, replicate)
    with pytest.raises(tuning.Halt, match="taken over"):
        getattr(searcher, told)("a", what)
    assert run.study.get_trials() == before


@pytest.mark.long
def test_too_many_failures_end_the_search_with_their_reasons(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(search={"trials": 40, "max_failed_share": 0.3}))
    play(run, lambda number: f"broken {number}" if number in (0, 3, 7) else (25.0, 9))
    worse = new_run(tmp_path / "b", experiment(search={"trials": 40, "max_failed_share": 0.3}))
    ledger = Ledger(worse.study, worse.experiment, ["k"])
    for number in range(10):
        ledger.check_failure_rate()
        work = ledger.next()
        assert work is not None
        ledger.finish(work.number, "no luck" if number % 2 else f"broken {number}")
    with pytest.raises(WorkError) as caught:
        ledger.check_failure_rate()
    assert str(caught.value) == (
        "10 of the last 10 trials failed, more than search.max_failed_share 0.3: no luck; broken 8"
    )
    # A resume gets its chance.
    Ledger(worse.study, worse.experiment, ["k"]).check_failure_rate()


@pytest.mark.usefixtures("one_process")
def test_a_search_of_which_all_trials_fail_ends_early(tmp_path: Path) -> None:
    broken = experiment(
        images=["skimage:moon"], seeds=[0], search={"trials": 60},
        trainer={"iterations": 30, "width": 4, "scales": 1, "input_noise_std": 1e38},
        resources={"concurrent": 1},
    )  # fmt: skip
    with pytest.raises(WorkError, match=r"10 of the last 10 trials failed, .* diverged on moon"):
        launch(broken, runs_dir=tmp_path)
    states = [trial.state for trial in Run.open("tiny", tmp_path).records()]
    assert 10 <= states.count("failed") <= 12


@pytest.mark.usefixtures("one_process")
def test_a_gpu_that_a_worker_cannot_use_fails_the_trials_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("PyTorch can use the GPU of this machine")
    node = {"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}}
    monkeypatch.setattr("ray.nodes", lambda: [node])
    broken = experiment(
        images=["skimage:moon"], seeds=[0], search={"trials": 60},
        resources={"device": "cuda", "gpus_per_trial": 1.0, "concurrent": 1},
    )  # fmt: skip
    with pytest.raises(WorkError, match=r"10 of the last 10 trials failed, .* cannot be used on"):
        launch(broken, runs_dir=tmp_path)
    records = Run.open("tiny", tmp_path).records()
    reasons = [trial.failure for trial in records if trial.state == "failed"]
    assert 10 <= len(reasons) <= 12
    assert {str(reason).split(" device ")[0] for reason in reasons} == {"InputError on moon-seed0:"}


def test_a_study_in_use_is_opened_without_the_right_to_write(played: Run) -> None:
    before = (played.folder / "study.db").read_bytes()
    assert open_storage(played.folder, None).get_all_studies()
    assert (played.folder / "study.db").read_bytes() == before


@pytest.mark.ray
def test_a_signal_while_ray_starts_leaves_nothing(tmp_path: Path, ray_folder: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(experiment(**SMALL).yaml())
    environment = {"RAY_TMPDIR": str(ray_folder)}
    driver = dipsearch("launch", str(path), runs_dir=tmp_path / "runs", environment=environment)
    try:
        wait_until(lambda: bool(processes_in(ray_folder)), 60)
        os.kill(driver.pid, signal.SIGTERM)
        output, _ = driver.communicate(timeout=60)
        assert driver.returncode == 130
        assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())
        assert "Traceback" not in output
        # What is left of Ray would no longer be a child of the driver.
        wait_until(lambda: not processes_in(ray_folder), 60)
    finally:
        for process in processes_in(ray_folder):
            kill(process)
