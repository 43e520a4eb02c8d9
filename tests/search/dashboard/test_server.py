"""The dashboard over real HTTP: on SQLite and PostgreSQL, while a run goes on and after."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from fake_runs import KEYS, experiment, outcome
from played_verification import searched as searched_run
from played_verification import verified
from processes import dipsearch, wait_until
from servers import free_port, postgresql

from dipstage.errors import InputError
from search import Run
from search.dashboard import server as dashboard
from search.dashboard.mirror import Mirror, plain
from search.execution.driver import create
from search.execution.ledger import Ledger
from search.experiment.prepare import load_candidates, load_pictures
from search.store.run import RunRecord

pytestmark = pytest.mark.server


@contextmanager
def served(run: Run, *arguments: str, **environment: str) -> Iterator[str]:
    """The command in a process of its own; yields the address that it prints, then ends it by
    Ctrl-C, on which it must exit with 0.
    """
    process = dipsearch(
        "dashboard", run.name, *arguments, runs_dir=run.folder.parent, environment=environment
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, line + process.stdout.read()
        yield line.split()[1]
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert output == "stopped; the study is unchanged\n"
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """Status and body of an answer."""
    request = urllib.request.Request(url, method=method, headers=headers)
    if method in ("POST", "PUT"):
        request.data = b'{"version": 9, "body": "mine"}'
        request.add_header("Content-Type", "application/json")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def study(url: str, number: int = 1) -> dict[str, Any]:
    """As the page reads it."""
    status, body = ask(f"{url}api/studies/{number}")
    assert status == 200
    content: dict[str, Any] = json.loads(body)
    return content


def test_a_finished_search_is_shown_with_its_scores_and_how_it_stands(searched: Run) -> None:
    digest = hashlib.sha256((searched.folder / "study.db").read_bytes()).hexdigest()
    records = searched.records()
    with served(searched, "--port", str(free_port())) as url:
        assert url.startswith("http://127.0.0.1:")
        status, page = ask(url)
        assert (status, b"<title>Optuna Dashboard</title>" in page) == (200, True)
        shown = study(url)
        assert [t["number"] for t in shown["trials"]] == [t.number for t in records]
        states = {"complete": "Complete", "raced": "Pruned", "failed": "Fail"}
        assert [t["state"] for t in shown["trials"]] == [states[t.state] for t in records]
        assert [t["values"] for t in shown["trials"]] == [
            list(t.values or t.estimate or ()) for t in records
        ]
        assert {t["number"] for t in shown["best_trials"]} == {t.number for t in searched.front()}
        assert shown["objective_names"] == ["max_psnr_gt_db", "steps_to_max"]
        assert f"{len(records)}/{len(records)} trials" in shown["note"]["body"]
        for trial, told in zip(records, shown["trials"], strict=True):
            cells = {each["key"]: each["value"] for each in told["user_attrs"]}
            assert cells["name"] == trial.name
            assert trial.schedule is not None
            assert float(cells["ramp"]) == trial.schedule.ramp
            mean = trial.measure("smoothed", "max_psnr_gt_db").mean
            assert float(cells["smoothed_max_psnr_gt_db"]) == pytest.approx(mean)
    assert hashlib.sha256((searched.folder / "study.db").read_bytes()).hexdigest() == digest


def test_nothing_can_be_written_and_no_other_host_is_answered(played: Run) -> None:
    with served(played, "--port", str(free_port())) as url:
        trial = study(url)["trials"][0]["trial_id"]
        for method, path in (
            ("DELETE", "api/studies/1"), ("POST", "api/studies"), ("PUT", "api/studies/1/note"),
            ("POST", f"api/trials/{trial}/tell"), ("POST", "api/studies/1/rename"),
        ):  # fmt: skip
            status, body = ask(url + path, method)
            assert status == 405
            assert "nothing can be changed here" in json.loads(body)["reason"]
        assert ask(f"{url}api/studies", Host="a.page.elsewhere:80")[0] == 403
        assert len(study(url)["trials"]) == 6


def _go_on(ledger: Ledger, replicates: int) -> int:
    work = ledger.next()
    assert work is not None
    for key in KEYS[:replicates]:
        ledger.record(work.number, key, outcome(25.0, 20))
    if replicates == len(KEYS):
        ledger.finish(work.number, None)
    return work.number


def _cell(trial: dict[str, Any], key: str) -> str:
    return next((each["value"] for each in trial["user_attrs"] if each["key"] == key), "")


def test_a_postgresql_study_is_followed_while_it_runs(tmp_path: Path) -> None:
    with postgresql() as server:
        tiny = experiment()
        digests = {label: picture.digest for label, picture in load_pictures(tiny).items()}
        create(tiny, tmp_path / "tiny", server.url, digests, load_candidates(tiny))
        other = tiny.model_copy(update={"name": "other"})
        create(other, tmp_path / "other", server.url, digests, load_candidates(tiny))
        run = Run.open("tiny", tmp_path, server.url)
        ledger = Ledger(run.study, run.experiment, KEYS)
        _go_on(ledger, 4)
        with served(run, DIPSEARCH_STORAGE=server.url) as url:
            # Another person's studies in the same database are not shown.
            assert len(json.loads(ask(f"{url}api/studies")[1])["study_summaries"]) == 1
            assert [t["state"] for t in study(url)["trials"]] == ["Complete"]
            number = _go_on(ledger, 2)
            wait_until(lambda: len(study(url)["trials"]) == 2)
            running = study(url)["trials"][1]
            assert (running["state"], running["number"]) == ("Running", number)
            wait_until(lambda: _cell(study(url)["trials"][1], "replicates") == "2")
            ledger.finish(number, "diverged on camera-seed1")
            wait_until(lambda: study(url)["trials"][1]["state"] == "Fail")
            wait_until(lambda: "diverged" in _cell(study(url)["trials"][1], "failure"))
        run.storage.engine.dispose()


def test_a_port_that_is_taken_is_another_one_by_default_and_refused_when_asked_for(
    played: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dashboard.dashboard(played, dashboard.LOOPBACK, 0) as first:
        monkeypatch.setattr(dashboard, "PORT", first.server_port)
        with dashboard.dashboard(played, dashboard.LOOPBACK, None) as second:
            assert second.server_port not in (0, first.server_port)
        with (
            pytest.raises(InputError, match=f"{first.server_port} cannot be listened on"),
            dashboard.dashboard(played, dashboard.LOOPBACK, first.server_port),
        ):
            pass


def test_a_study_that_cannot_be_read_is_told_of_until_it_can(
    played: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror, ended = Mirror(played), threading.Event()

    def note() -> str:
        attributes = mirror.get_study_system_attrs(1)
        return "".join(str(v) for k, v in attributes.items() if k.startswith("dashboard:note_str"))

    def broken() -> None:
        raise RuntimeError("postgresql://me:hunter2@db is away")

    assert "Last read at 2" in note()
    monkeypatch.setattr(dashboard, "REFRESH_S", 0.01)
    monkeypatch.setattr(mirror, "refresh", broken)
    follower = threading.Thread(target=dashboard._follow, args=(mirror, ended), daemon=True)
    follower.start()
    wait_until(lambda: "Reading fails since 2" in note())
    assert "RuntimeError" in note()
    assert "hunter2" not in note()
    assert "6/6 trials" in note(), "what was read before"
    monkeypatch.undo()
    wait_until(lambda: "Last read at 2" in note())
    ended.set()
    follower.join()
    assert not follower.is_alive()


@pytest.mark.parametrize(("limits", "best"), [({}, 5), ({"max_steps": 20}, 2)])
def test_a_search_for_one_objective_has_a_best_trial_and_no_front(
    limits: dict[str, object], best: int, tmp_path: Path
) -> None:
    run = searched_run(tmp_path, objective={"against": "none", **limits})
    mirror = Mirror(run)
    shown = optuna.load_study(study_name=run.name, storage=mirror)
    assert [trial.number for trial in run.front()] == [best]
    assert [trial.number for trial in shown.best_trials] == [best]
    assert mirror.get_best_trial(1).number == best, "which optuna-dashboard reads"
    assert shown.metric_names == ["max_psnr_gt_db"]
    assert shown.trials[2].values == [26.0]
    assert shown.trials[2].user_attrs["steps_to_max"] == 12
    assert shown.trials[4].values is None


def test_parts_of_a_verification_are_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = searched_run(tmp_path)
    verified(run, lambda name, key: (25.0, 20))
    opened: list[Path] = []
    inside = RunRecord.inside

    def counted(folder: Path, name: str) -> RunRecord:
        opened.append(folder)
        return inside(folder, name)

    monkeypatch.setattr(RunRecord, "inside", counted)
    mirror = Mirror(run)
    mirror.refresh()
    assert [s.study_name for s in mirror.get_all_studies()][1:] == [
        "tiny/learning-rate", "tiny/verification",
    ]  # fmt: skip
    assert len(opened) == 2
    os.utime(opened[1] / "experiment.yaml", (0, 0))
    mirror.refresh()
    assert opened == [opened[0], opened[1], opened[1]], "made again"


@pytest.mark.parametrize(
    "host", ["nohost.invalid", "192.0.2.1", "a..b", "999.1.1.1", "1.2.3.4.5", "::zz"]
)
def test_a_host_that_is_not_this_machine_is_refused(played: Run, host: str) -> None:
    with (
        pytest.raises(InputError, match=f"--host {re.escape(host)} is no address of this machine"),
        dashboard.dashboard(played, host, None),
    ):
        pass


def test_a_host_of_ipv6_is_served(played: Run) -> None:
    with served(played, "--host", "::1", "--port", str(free_port())) as url:
        assert url.startswith("http://[::1]:")
        assert study(url)["name"] == "tiny"


def test_without_optuna_dashboard_one_sentence_says_what_to_install(played: Run) -> None:
    where = ["dipsearch", "dashboard", "tiny", "--runs-dir", str(played.folder.parent)]
    program = (
        "import sys; sys.modules['optuna_dashboard'] = None; "
        f"sys.argv = {where!r}; from search.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip().endswith("pip install 'dipsearch[dashboard]'")
    assert len(done.stderr.strip().splitlines()) == 1


def test_names_from_files_are_text_in_notes() -> None:
    assert plain("a|b <script> [x](y) *z*") == r"a\|b \<script\> \[x\]\(y\) \*z\*"
