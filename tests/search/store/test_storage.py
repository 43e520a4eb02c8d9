"""Opening the database of a study, and what stays of it when that fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from dipstage.errors import InputError
from search.store.storage import open_storage


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
