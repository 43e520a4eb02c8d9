"""Run folders on an S3-compatible server that is really there, or really gone."""

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlparse

import pytest
from click.testing import CliRunner
from fake_runs import KEYS, experiment, outcome
from servers import object_storage

from dipstage.documents.whole_files import write_whole
from dipstage.errors import InputError, WorkError
from search import Run
from search.cli import main
from search.execution.driver import create
from search.execution.ledger import Ledger
from search.experiment.prepare import load_candidates
from search.store.folders import path_exists, remove_tree
from search.store.lease import leased
from search.store.paths import curve_path, run_folder, runs_path
from search.store.run import PNG

pytestmark = pytest.mark.server

RUNS = "s3://runs/here"


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of a server that has ended."""
    with object_storage() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server with an empty bucket."""
    with object_storage() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.usefixtures("there")
def test_a_run_on_object_storage_is_made_played_and_read(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/studies.db"
    tiny = experiment()
    folder = run_folder("tiny", runs_path(RUNS))
    create(tiny, folder, database, {}, load_candidates(tiny))
    run = Run.open("tiny", RUNS, database)
    ledger = Ledger(run.study, run.experiment, KEYS)
    while (work := ledger.next()) is not None:
        for key in KEYS:
            write_whole(curve_path(run.folder, work.number, key), b"curves")
            ledger.record(work.number, key, outcome(25.0 + work.number, 10))
        ledger.finish(work.number, None)
    assert len(list((run.folder / "curves").iterdir())) == 24
    best = run.export("psnr")
    assert path_exists(best)
    assert path_exists(folder / "experiment.yaml")
    with pytest.raises(InputError, match=r"trial00000-chelsea-seed0\.npz cannot be read"):
        run.curves(run.records()[0], "chelsea-seed0")
    report = run.report()
    assert path_exists(report)
    assert b"trial 5 looks best, but that is not verified" in report.read_bytes().lower()
    remove_tree(folder)
    remove_tree(folder)
    assert not path_exists(folder / "experiment.yaml")
    with pytest.raises(InputError, match="run 'tiny' does not exist in s3://runs/here"):
        Run.open("tiny", RUNS, database)


@pytest.mark.usefixtures("there")
def test_a_study_on_object_storage_needs_a_database() -> None:
    tiny = experiment()
    with pytest.raises(InputError, match=r"on object storage, where SQLite does not work"):
        create(tiny, run_folder("tiny", runs_path(RUNS)), None, {}, [])


@pytest.mark.usefixtures("gone")
def test_what_cannot_be_looked_at_is_not_taken_for_absent() -> None:
    from upath import UPath

    path = UPath(f"{RUNS}/tiny/experiment.yaml", config_kwargs={"retries": {"max_attempts": 0}})
    with pytest.raises(WorkError, match="cannot be looked at"):
        path_exists(path)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="onnect"):
        write_whole(path, b"x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"--runs-dir {RUNS} cannot be reached"):
        runs_path(RUNS)


@pytest.mark.ray
def test_curves_wait_for_a_server_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.execution.tuning import StudySearcher

    database, tiny = f"sqlite:///{tmp_path}/studies.db", experiment()
    with object_storage() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        create(tiny, run_folder("tiny", runs_path(RUNS)), database, {}, load_candidates(tiny))
        run = Run.open("tiny", RUNS, database)
    port = urlparse(environment["AWS_ENDPOINT_URL"]).port
    with leased(run.storage, "tiny", "run 'tiny'") as lease, ExitStack() as servers:
        searcher = StudySearcher(run, Ledger(run.study, run.experiment, KEYS), lease)
        searcher.suggest("a")
        back = threading.Timer(5, lambda: servers.enter_context(object_storage(port)))
        back.start()
        scores = outcome(25.0, 10)
        result = {
            "replicate": [KEYS[0]],
            "outcome": [scores],
            "curves": [b"curves"],
            "pictures": [PNG + b"picture"],
        }
        searcher.on_trial_result("a", result)
        back.join()
        assert curve_path(run.folder, 0, KEYS[0]).read_bytes() == b"curves"
        assert run.picture(run.records()[0], KEYS[0]) == PNG + b"picture"
        assert result["curves"] == result["pictures"] == []
        assert run.records()[0].replicates == {KEYS[0]: scores}


@pytest.mark.usefixtures("there")
def test_runs_on_object_storage_are_listed_and_removed(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/studies.db"
    tiny = experiment()
    for name in ("first", "second"):
        folder = run_folder(name, runs_path(RUNS))
        create(tiny, folder, database, {}, load_candidates(tiny), name)
        write_whole(curve_path(folder, 0, "key"), b"curves")
    options = ["--runs-dir", RUNS, "--storage", database]
    rows = json.loads(CliRunner().invoke(main, ["list", *options, "--json"]).stdout)
    assert [(row["name"], row["state"]) for row in rows] == [
        ("first", "unfinished"), ("second", "unfinished"),
    ]  # fmt: skip
    assert rows[0]["bytes"] == len(tiny.yaml().encode()) + len(b"curves")
    removed = CliRunner().invoke(main, ["remove", f"{RUNS}/first", *options, "--yes"])
    assert (removed.exit_code, removed.stdout) == (0, "removed: first\n"), removed.output
    rows = json.loads(CliRunner().invoke(main, ["list", *options, "--json"]).stdout)
    assert [row["name"] for row in rows] == ["second"]
