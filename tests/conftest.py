"""Settings of the suite, what tests need, a played run, and one Ray for the whole session."""

from __future__ import annotations

import functools
import gc
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from fake_runs import experiment, new_run, play
from hypothesis import settings
from needs import FIXTURES, MARKERS, Guard, module_markers, shares_ray
from one_process import one_process as in_one_process
from sqlalchemy import Engine, event
from verified_runs import SMALL

from dipstage.pictures.images import Picture, load_picture
from search import Run
from search.experiment import prepare
from search.store import storage

# Wall time proves nothing on a busy machine, and a suite that fails must fail again.
settings.register_profile("house", deadline=None, derandomize=True)
settings.load_profile("house")

guard = Guard()


@event.listens_for(Engine, "connect")
def _write_without_waiting(connection: object, _: object) -> None:
    """Let SQLite leave writing to the system: tests end processes, never the machine."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


def markers(item: pytest.Item) -> set[str]:
    """What a test needs, see `needs`."""
    return {marker.name for marker in item.iter_markers() if marker.name in MARKERS}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module of which `-m "not X and not Y"` selects no test."""
    unwanted = re.findall(r"\bnot (\w+)", config.option.markexpr)
    if " and ".join(f"not {marker}" for marker in unwanted) != config.option.markexpr:
        return None
    is_module = unwanted and collection_path.match("test_*.py")
    return True if is_module and module_markers(collection_path) & {*unwanted} else None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse modules that import Ray although none of their tests is marked for it."""
    if "ray" in sys.modules and not any("ray" in markers(item) for item in session.items):
        raise pytest.UsageError(
            "a test module imports Ray: set pytestmark = pytest.mark.ray there, or import it in "
            "the tests that are marked"
        )
    # Collections of garbage look at all modules again, for a third of a second, unless they are
    # frozen; and Python begins one for every 700 new objects.
    gc.freeze()
    gc.set_threshold(10_000)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Hand tests to processes file by file, and all files that share one Ray to the same one.

    pytest-xdist 3.8 has `--dist loadgroup` for this, which does nothing under pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return "ray_session" if shares_ray(config.rootpath / module) else module

    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their fixtures, and let files begin in the order of how long they may take.

    Two processes that end with brief files end at about the same time.
    """
    weights: dict[Path, int] = {}
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        for name, marker in FIXTURES.items():
            if name in used:
                item.add_marker(marker)
        long = item.get_closest_marker("long") is not None
        weight = 3 if "ray_session" in used else 2 if markers(item) else int(long)
        weights[item.path] = max(weight, weights.get(item.path, 0))
    items.sort(key=lambda item: -weights[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test start what it is marked for, and nothing else."""
    with guard.over(item.nodeid, markers(item)):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _copied_tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let Optuna make its tables in SQLite once; each later database begins as a copy of them."""
    empty, open_sqlite = tmp_path_factory.mktemp("tables"), storage._open_sqlite
    open_sqlite(empty, create=True).engine.dispose()

    def open_copy(folder: Path, create: bool) -> storage.PatientStorage:
        if create and isinstance(folder, Path) and not (folder / "study.db").exists():
            shutil.copy(empty / "study.db", folder)
            create = False
        return open_sqlite(folder, create)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_open_sqlite", open_copy)
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> Iterator[None]:
    """Let all databases in SQLite share the statements that SQLAlchemy compiles for each."""
    create = sqlalchemy.engine.create_engine
    shared: list[Engine] = []

    def create_engine(*arguments: Any, **options: Any) -> Engine:
        engine = create(*arguments, **options)
        if engine.name == "sqlite":
            shared.append(engine)
            engine.dialect = shared[0].dialect
            engine._compiled_cache = shared[0]._compiled_cache
            del shared[1:]
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlalchemy.engine, "create_engine", create_engine)
        yield


@pytest.fixture(scope="session", autouse=True)
def _loaded_pictures() -> Iterator[None]:
    """Load a picture of scikit-image once for each size: nearly every run begins with two."""
    load = functools.cache(load_picture)

    def load_once(name: str, *, size: int | None, multiple: int) -> Picture:
        known = name.startswith("skimage:")
        return (load if known else load_picture)(name, size=size, multiple=multiple)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "load_picture", load_once)
        yield


@pytest.fixture(scope="session")
def _played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scores: dict[int, tuple[float, int] | str] = {
        0: (25.0, 20), 1: (26.0, 15), 2: (27.0, 18), 3: (24.0, 10), 4: "diverged", 5: (27.0, 25),
    }  # fmt: skip
    run = play(new_run(tmp_path_factory.mktemp("played"), experiment()), scores.__getitem__)
    run.storage.engine.dispose()
    return run.folder


@pytest.fixture
def played(_played: Path, tmp_path: Path) -> Run:
    """Two candidates and four sampled trials; trial 4 failed."""
    shutil.copytree(_played, tmp_path / _played.name)
    return Run.open(_played.name, tmp_path)


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray of two cores; `ray_cluster` uses it as it stands."""
    from search.execution.cluster import ray_cluster

    with ray_cluster(None, cpus=2):
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch computes in one thread, as in a worker, and in as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """A folder for the files of a Ray, whose sockets need a short name; its path is RAY_TMPDIR."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def one_process() -> Iterator[None]:
    """Searches train in this process, without Ray's: see `one_process`."""
    with in_one_process():
        yield


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small search that nobody verifies: a test that would takes a copy."""
    from search import launch

    with in_one_process():
        return launch(experiment(**SMALL), runs_dir=tmp_path_factory.mktemp("searched"))
