"""Who drives a run: told from the dead, on this machine and on others."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from fake_runs import experiment, new_run
from sqlalchemy import text

from dipstage.errors import InputError, WorkError
from search import Run, resume
from search.store import lease as leases
from search.store.lease import Lease, holder, leased

HOLD = """
import sys, time
from pathlib import Path
from search.store.lease import leased
from search.store.storage import open_storage
with leased(open_storage(Path(sys.argv[1]), None), "tiny", "run 'tiny'"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that has not begun."""
    return new_run(tmp_path, experiment())


@pytest.fixture
def other(run: Run) -> "subprocess.Popen[str]":
    """A process that holds the run's lease."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    """By SIGKILL, so that it releases nothing."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.long
def test_a_second_driver_is_refused_and_told_who_holds_the_run(
    run: Run, other: "subprocess.Popen[str]"
) -> None:
    held = run.driver()
    assert held is not None
    assert held.process == other.pid
    with pytest.raises(InputError) as caught:
        resume("tiny", runs_dir=run.folder.parent)
    assert str(caught.value) == (
        f"run 'tiny' has a driver that is alive ({os.uname().nodename}, process {other.pid}, since "
        f"{held.since:%Y-%m-%d %H:%M:%S} UTC): wait for it to end"
    )
    end(other)


@pytest.mark.long
def test_the_lease_of_a_dead_process_blocks_nobody(
    run: Run, other: "subprocess.Popen[str]"
) -> None:
    end(other)
    assert run.driver() is None
    with leased(run.storage, "tiny", "run 'tiny'"):
        held = run.driver()
        assert held is not None
        assert held.process == os.getpid()
    assert run.driver() is None


@pytest.mark.long
def test_a_process_that_is_only_stopped_keeps_its_lease(
    run: Run, other: "subprocess.Popen[str]"
) -> None:
    other.send_signal(signal.SIGSTOP)
    with run.storage.engine.begin() as connection:
        connection.execute(text("UPDATE dipsearch_leases SET renewed = '2020-01-01 00:00:00'"))
    assert run.driver() is not None
    end(other)


def on_another_machine(run: Run) -> None:
    """Make the lease that there is look as if held elsewhere."""
    with run.storage.engine.begin() as connection:
        connection.execute(text("UPDATE dipsearch_leases SET machine = 'm', host = 'far'"))


@pytest.mark.long
def test_a_driver_elsewhere_is_given_up_after_silence(
    run: Run, other: "subprocess.Popen[str]"
) -> None:
    end(other)
    on_another_machine(run)
    with pytest.raises(
        InputError, match=r"\(far, process .*, or if it has died, for (30|29|28|2.) s"
    ):
        Lease(run.storage, "tiny", "run 'tiny'").take()
    with run.storage.engine.begin() as connection:
        connection.execute(text("UPDATE dipsearch_leases SET renewed = '2020-01-01 00:00:00'"))
    assert holder(run.storage, "tiny") is None
    with leased(run.storage, "tiny", "run 'tiny'"):
        pass


@pytest.mark.parametrize(
    ("hidden", "signalled", "is_held"),
    [
        (psutil.NoSuchProcess(1), PermissionError, True),
        (psutil.NoSuchProcess(1), ProcessLookupError, False),
        (psutil.AccessDenied(1), PermissionError, True),
    ],
)
def test_a_driver_that_the_system_hides_is_given_up_only_after_silence(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    hidden: psutil.Error,
    signalled: type[OSError],
    is_held: bool,
) -> None:
    def look(process: int) -> psutil.Process:
        raise hidden

    def kill(process: int, number: int) -> None:
        raise signalled

    monkeypatch.setattr(leases, "BEAT_S", 600.0)
    with leased(run.storage, "tiny", "run 'tiny'"):
        with run.storage.engine.begin() as connection:
            connection.execute(text("UPDATE dipsearch_leases SET process = 1"))
        monkeypatch.setattr(psutil, "Process", look)
        monkeypatch.setattr(os, "kill", kill)
        assert (run.driver() is not None) is is_held
        with run.storage.engine.begin() as connection:
            connection.execute(text("UPDATE dipsearch_leases SET renewed = '2020-01-01 00:00:00'"))
        assert run.driver() is None


def test_a_driver_renews_its_lease_while_it_lives(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.05)

    def renewals() -> int:
        with run.storage.engine.connect() as connection:
            return int(
                connection.execute(text("SELECT renewals FROM dipsearch_leases")).scalar_one()
            )

    with leased(run.storage, "tiny", "run 'tiny'"):
        before = renewals()
        deadline = time.monotonic() + 20
        while renewals() < before + 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_driver_that_was_taken_for_dead_finds_out_and_ends(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Lease(run.storage, "tiny", "run 'tiny'")
    silent.take()
    on_another_machine(run)
    with run.storage.engine.begin() as connection:
        connection.execute(text("UPDATE dipsearch_leases SET renewed = '2020-01-01 00:00:00'"))
    with leased(run.storage, "tiny", "run 'tiny'") as second:
        monkeypatch.setattr(leases, "STALE_S", 0.0)
        with pytest.raises(WorkError, match=r"run 'tiny' was taken over by .*, process"):
            silent.check()
        silent.release()
        second.check()
        assert run.driver() is not None


@pytest.mark.long
def test_of_two_that_are_after_a_dead_driver_s_lease_one_gets_it(
    run: Run, other: "subprocess.Popen[str]"
) -> None:
    end(other)
    first, second = (Lease(run.storage, "tiny", "run 'tiny'") for _ in range(2))
    seen = leases._read(run.storage, "tiny")
    assert first._write(seen)
    assert not second._write(seen)
    # An answer that got lost, and the call made again.
    assert first._write(seen)
