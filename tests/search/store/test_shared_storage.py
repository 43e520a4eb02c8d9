"""A study in PostgreSQL: shared, restarted, gone for a while, and its password nowhere."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import psutil
import pytest
from counts import assert_exact
from fake_runs import experiment
from processes import command_line, descendants, dipsearch, finish, trainers, wait_until
from servers import PASSWORD, SECRETS, PostgreSQL, postgresql
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from dipstage.errors import InputError, WorkError
from search import Run, launch, resume
from search.execution.driver import create
from search.execution.view import Quiet
from search.store.attributes import write
from search.store.lease import Lease
from search.store.run import RunRecord
from search.store.storage import open_storage
from search.store.study import load_study

pytestmark = [pytest.mark.ray, pytest.mark.server]

SMALL = {
    "images": ["skimage:moon"],
    "search": {"trials": 4},
    "trainer": {"iterations": 120, "width": 8, "scales": 2},
}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL server."""
    with postgresql() as running:
        yield running


class Outage(Quiet):
    """Stops the server after the first trial, and starts it again some seconds later."""

    def __init__(self, server: PostgreSQL, seconds: float | None) -> None:
        self.server, self.seconds, self.thread = server, seconds, threading.Thread(target=self.cut)

    def cut(self) -> None:
        """Run in a thread, as the search goes on."""
        self.server.stop()
        if self.seconds is not None:
            time.sleep(self.seconds)
            self.server.start()

    def update(self, run: RunRecord) -> None:
        """See `View`."""
        if not self.thread.ident and any(t.state == "complete" for t in run.records()):
            self.thread.start()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("seconds", [0.0, pytest.param(30.0, marks=pytest.mark.slow)])
def test_a_server_that_restarts_or_is_away_costs_nothing(
    server: PostgreSQL, tmp_path: Path, seconds: float
) -> None:
    outage = Outage(server, seconds)
    named = experiment(**SMALL, name=f"away-{seconds:.0f}")
    run = launch(named, runs_dir=tmp_path, storage=server.url, view=outage)
    outage.thread.join()
    assert_exact(run)


@pytest.mark.slow
@pytest.mark.usefixtures("one_process")
def test_a_server_that_stays_away_ends_the_search_and_a_resume_goes_on(
    server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.store.storage.PATIENCE_S", 2.0)
    outage = Outage(server, None)
    with pytest.raises(WorkError, match=r"the study's storage failed: .*; resume the search once"):
        launch(experiment(**SMALL, name="gone"), runs_dir=tmp_path, storage=server.url, view=outage)
    outage.thread.join()
    server.start()
    before = Run.open("gone", tmp_path, server.url)
    kept = {p.name: p.stat().st_mtime_ns for p in (before.folder / "curves").iterdir()}
    finished = sum(len(trial.replicates) for trial in before.records())
    run = resume("gone", runs_dir=tmp_path, storage=server.url)
    assert_exact(run)
    now = {p.name: p.stat().st_mtime_ns for p in (run.folder / "curves").iterdir()}
    # What the study knew was not trained again; a replicate or two were in flight.
    assert sum(now[name] == kept[name] for name in kept) >= finished > 0


def test_a_wrong_password_is_told_without_any_password(server: PostgreSQL, tmp_path: Path) -> None:
    wrong = server.url.replace(PASSWORD, "wrong-secret")
    with pytest.raises(InputError, match="password authentication failed") as caught:
        open_storage(tmp_path, wrong)
    assert "wrong-secret" not in str(caught.value)


def test_a_launch_that_died_before_its_folder_was_there_does_not_block_the_name(
    server: PostgreSQL, tmp_path: Path
) -> None:
    tiny = experiment(name="orphan")
    create(tiny, tmp_path / "a" / "orphan", server.url, {}, [])
    storage = open_storage(tmp_path, server.url)
    study = load_study(storage, "orphan")
    with pytest.raises(InputError, match="has a study 'orphan' already"):
        create(tiny, tmp_path / "b" / "orphan", server.url, {}, [])
    # As the driver leaves it that dies between the study and the folder.
    write(study, made=False)
    create(tiny, tmp_path / "b" / "orphan", server.url, {}, [])
    assert load_study(storage, "orphan")._study_id != study._study_id


def test_a_study_of_another_program_is_left_alone(server: PostgreSQL, tmp_path: Path) -> None:
    storage = open_storage(tmp_path, server.url, create=True)
    theirs = optuna.create_study(storage=storage, study_name="theirs")
    with pytest.raises(InputError, match="has a study 'theirs' already"):
        create(experiment(name="theirs"), tmp_path / "theirs", server.url, {}, [])
    assert load_study(storage, "theirs")._study_id == theirs._study_id


def test_a_driver_that_lost_its_lease_while_the_server_was_away_writes_nothing(
    server: PostgreSQL, tmp_path: Path
) -> None:
    create(experiment(name="cut-off"), tmp_path / "cut-off", server.url, {}, [])
    run = Run.open("cut-off", tmp_path, server.url)
    lease = Lease(run.storage, "cut-off", "run 'cut-off'")
    lease.take()
    calls = []

    def ask() -> None:
        calls.append(1)
        if len(calls) == 1:
            # Away; and meanwhile another driver takes over.
            with run.storage.engine.begin() as connection:
                connection.execute(
                    text("UPDATE dipsearch_leases SET token = 'other' WHERE name = 'cut-off'")
                )
            raise OperationalError("SELECT 1", {}, Exception("away"))

    with pytest.raises(WorkError, match="run 'cut-off' was taken over"):
        run.storage.wait_out(ask)
    assert len(calls) == 1
    lease.release()


def test_two_drivers_on_one_shared_study_are_told_apart(server: PostgreSQL, tmp_path: Path) -> None:
    storage = open_storage(tmp_path, server.url, create=True)
    first, second = (Lease(storage, "shared", "run 'shared'") for _ in range(2))
    first.take()
    with pytest.raises(InputError, match=rf"alive \({os.uname().nodename}, process {os.getpid()}"):
        second.take()
    first.release()
    second.take()
    second.release()


def places_with(secret: str, driver: psutil.Process, *folders: Path) -> list[str]:
    """Where a secret can be read: files, process lists, the environment of Ray's processes."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes():
                found.append(str(path))
    for process in psutil.process_iter():
        if secret in command_line(process):
            found.append(f"command line of {process}")
    for process in descendants(driver):
        try:
            if secret in " ".join(process.environ().values()):
                found.append(f"environment of {process}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def open_to_others(driver: psutil.Process) -> list[str]:
    """Ports on which the driver or its Ray listens beyond loopback."""
    open_ports = []
    for process in [driver, *descendants(driver)]:
        try:
            sockets = process.net_connections(kind="inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        open_ports += [
            f"{process.name()} {s.laddr}"
            for s in sockets
            if s.status == psutil.CONN_LISTEN
            and s.laddr.ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")
        ]
    return open_ports


def test_the_variables_that_ray_does_not_get_are_those_that_the_docs_name() -> None:
    from search.execution.cluster import _SECRETS

    page = (Path(__file__).parents[3] / "docs" / "security.md").read_text()
    [named] = re.findall(r"without the variables (.*?)\. With", page, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", named)) == set(_SECRETS) == set(SECRETS)


DUMP = """
import sys
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
for namespace in (None, b"job", b"fun", b"cluster", b"session", b"dashboard", b"tune"):
    for key in client.internal_kv_keys(b"", namespace):
        sys.stdout.buffer.write(key + (client.internal_kv_get(key, namespace) or b""))
for job in client.get_all_job_info().values():
    sys.stdout.buffer.write(str(job).encode())
"""


def test_the_password_is_nowhere_and_no_port_is_open_while_a_search_runs(
    server: PostgreSQL, tmp_path: Path, ray_folder: Path
) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(experiment(**SMALL, name="secret").yaml())
    # The password stands for all secrets.
    environment = {
        **dict.fromkeys(SECRETS, PASSWORD),
        "DIPSEARCH_STORAGE": server.url,
        "RAY_TMPDIR": str(ray_folder),
    }
    process = dipsearch(
        "launch", str(path), "--set", "trainer.iterations=4000",
        runs_dir=tmp_path / "runs", environment=environment,
    )  # fmt: skip
    driver = psutil.Process(process.pid)

    def status() -> str:
        return finish("status", "secret", runs_dir=tmp_path / "runs", environment=environment)[1]

    try:
        wait_until(lambda: bool(trainers(driver)), 120)
        # Others read the study while it runs.
        wait_until(lambda: f"process {process.pid}" in status(), 60)
        assert any(ray_folder.rglob("*.log")), "Ray keeps its files there"
        assert not places_with(PASSWORD, driver, tmp_path, ray_folder)
        assert not open_to_others(driver)
        [address] = {
            argument.partition("=")[2]
            for child in descendants(driver)
            for argument in command_line(child).split(" ")
            if argument.startswith(("--gcs-address=", "--gcs_address="))
        }
        dump = subprocess.run(
            [sys.executable, "-c", DUMP, address],
            stdout=subprocess.PIPE,
            check=True,
            env={**os.environ, "RAY_AUTH_MODE": "token"},
        ).stdout
        assert b"ScheduleTrial" in dump
        assert PASSWORD.encode() not in dump
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continue with: dipsearch resume secret" in output
    assert PASSWORD not in output
    assert not places_with(PASSWORD, driver, tmp_path, ray_folder)
