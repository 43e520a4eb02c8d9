"""Opening the database of a study, and what stays of it when that fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_runs import experiment, new_run
from optuna.exceptions import DuplicatedStudyError
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from dipstage.errors import InputError
from search import Run
from search.store.database_address import parsed
from search.store.storage import open_storage
from search.store.study import create_study, load_study


@pytest.fixture
def open_connections() -> Iterator[set[int]]:
    """The connections of all engines that are open, by identity."""
    now: set[int] = set()

    def connected(connection: object, _: object) -> None:
        now.add(id(connection))

    def closed(connection: object, _: object) -> None:
        now.discard(id(connection))

    event.listen(Engine, "connect", connected)
    event.listen(Engine, "close", closed)
    yield now
    event.remove(Engine, "connect", connected)
    event.remove(Engine, "close", closed)


def test_an_empty_file_is_no_study_and_leaves_no_connection_open(
    tmp_path: Path, open_connections: set[int]
) -> None:
    (tmp_path / "study.db").touch()
    with pytest.raises(InputError, match=r"study\.db is empty: copy the run's folder again"):
        open_storage(tmp_path, None)
    assert not open_connections


def test_a_database_without_studies_leaves_no_connection_open(
    tmp_path: Path, open_connections: set[int]
) -> None:
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute(
            "CREATE TABLE version_info (version_info_id, schema_version, library_version)"
        )
    database.close()
    with pytest.raises(InputError, match="holds no studies: is it the right one"):
        open_storage(tmp_path, None)
    assert not open_connections


def test_a_study_whose_creation_was_not_answered_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, lost = open_storage(tmp_path, None, create=True), list[OperationalError]()

    def lose_answer(session: Session) -> None:
        if not lost:
            lost.append(OperationalError("COMMIT", {}, Exception("the server is away")))
            raise lost[0]

    monkeypatch.setattr(
        storage, "_is_away", lambda error: not isinstance(error, DuplicatedStudyError)
    )
    event.listen(storage.scoped_session, "after_commit", lose_answer)
    create_study(storage, experiment(), {}, [], "tiny")
    assert lost
    assert load_study(storage, "tiny").user_attrs["made"] is False
    with pytest.raises(InputError, match="has a study 'tiny' already"):
        create_study(storage, experiment(), {}, [], "tiny")


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a b", "a#b"])
def test_runs_live_where_they_were_asked_to_whatever_the_folder_is_called(
    tmp_path: Path, name: str
) -> None:
    run = new_run(tmp_path / name, experiment())
    assert (tmp_path / name / "tiny" / "study.db").stat().st_size > 0
    assert list(tmp_path.iterdir()) == [tmp_path / name]
    assert Run.open("tiny", tmp_path / name).trials_wanted == run.trials_wanted


@pytest.mark.parametrize("password", ["a@geheim", "a@geh/eim"])
def test_a_password_with_an_at_sign_is_refused_and_no_part_of_it_is_taken_for_a_server(
    tmp_path: Path, password: str
) -> None:
    with pytest.raises(InputError, match=r"^--storage has a second @: write @ in a password as %4"):
        open_storage(tmp_path, f"postgresql://u:{password}@127.0.0.1:1/d")
    for rest in (f"u:{password.replace('@', '%40')}@127.0.0.1:1/d", "u@127.0.0.1/a@b"):
        assert parsed(f"postgresql://{rest}").host == "127.0.0.1"


def test_storages_that_cannot_be_opened_are_refused_without_their_password(
    tmp_path: Path,
) -> None:
    run = new_run(tmp_path, experiment())
    with pytest.raises(InputError, match=r"has no study\.db"):
        open_storage(tmp_path, None)
    for url in ("nonsense://u:secret@h/d", "secret", "postgresql+nodriver://u:secret@h/d"):
        with pytest.raises(InputError) as caught:
            open_storage(tmp_path, url)
        assert "secret" not in str(caught.value)
    for content in (b"", b"no database" * 100):
        (tmp_path / "study.db").write_bytes(content)
        with pytest.raises(InputError, match=r"study\.db (is empty|cannot be opened)|has no study"):
            load_study(open_storage(tmp_path, None), "tiny")
    with pytest.raises(InputError, match="no study 'other'"):
        load_study(open_storage(run.folder, None), "other")


def test_a_second_study_of_a_name_is_refused_by_that_name(tmp_path: Path) -> None:
    storage = open_storage(tmp_path, None, create=True)
    create_study(storage, experiment(), {}, [], "tiny/verification")
    with pytest.raises(InputError, match="has a study 'tiny/verification' already"):
        create_study(storage, experiment(), {}, [], "tiny/verification")
