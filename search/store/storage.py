"""The database of a study: SQLite in the run's folder, or a server that several people share.

A server may restart or be unreachable for a while. Every call waits for it, for `PATIENCE_S` at
most. A longer outage ends the search with an error message; a resume continues the search.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
import os
import re
import sqlite3
import uuid
import weakref
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import inspect
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)
from sqlalchemy.orm import Session
from tenacity import retry_if_exception

from dipstage.errors import InputError, WorkError
from search.store import STORAGE_VARIABLE
from search.store.database_address import (
    named,
    parsed,
    sqlite_file,
    unknown,
    without_driver,
)
from search.store.folders import is_remote
from search.store.optuna_internals import HookedStorage, models, set_trial_id
from search.store.retries import PATIENCE_S, patient
from search.store.rows import is_known, read_trials, write_trial

R = TypeVar("R")

CREATION = "dipsearch:creation"
"""System attribute of a trial: the token of the call that created it."""
_LOCKED_S = 60.0
"""Maximum time in seconds that SQLite waits for another process to release the file."""

optuna.logging.set_verbosity(optuna.logging.ERROR)
# We report an interrupt during a query; SQLAlchemy would also print its traceback.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def check_storage(folder: Path, address: str | None) -> None:
    """Raise InputError unless a study can be made in a database; a file is not made yet.

    The arguments are those of `open_storage`.
    """
    file = None if address is None else sqlite_file(parsed(address))
    if address is None or file is None or os.path.lexists(file):
        open_storage(folder, address, create=True).engine.dispose()
        return
    home = os.path.dirname(os.path.abspath(file))
    if not os.access(home, os.W_OK | os.X_OK):
        reason = "cannot be written" if os.path.isdir(home) else "does not exist"
        raise InputError(
            f"{named(address)} cannot be opened as a study's database: the folder {home} {reason}"
        )


def open_storage(folder: Path, url: str | None, *, create: bool = False) -> PatientStorage:
    """Open Optuna's storage.

    Args:
        folder: Folder of the run.
        url: Address of the database; None means SQLite in the run's folder.
        create: Whether to create tables that do not exist yet.

    Raises:
        InputError: If the database does not exist or cannot be opened.
    """
    try:
        return _open_sqlite(folder, create) if url is None else _open_server(url, create)
    except InputError:
        raise
    except (ArgumentError, NoSuchModuleError, TypeError, ValueError):  # Also of its settings.
        if url is None:
            raise
        raise unknown(url) from None
    except ImportError:
        raise without_driver(url or "") from None
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        where = named(url) if url else folder / "study.db"
        advice = "" if url else "; if the run is a copy, copy its folder again"
        raise InputError(
            f"{where} cannot be opened as a study's database: {_reason(error)}{advice}"
        ) from None


def _open_server(url: str, create: bool) -> PatientStorage:
    address = parsed(url)
    file = sqlite_file(address)
    if file and not create and not os.path.exists(file):
        raise InputError(f"{named(url)}: {file} does not exist: name the database of a run")
    if address.drivername in ("postgresql", "postgres"):
        address = address.set(drivername="postgresql+psycopg")
    engine: dict[str, Any] = {"pool_pre_ping": True}
    if address.get_backend_name() == "postgresql":
        # These settings detect a lost server within half a minute.
        engine["connect_args"] = {
            "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5,
            "keepalives_count": 3, "tcp_user_timeout": 25_000,
        }  # fmt: skip
    return PatientStorage(address.render_as_string(hide_password=False), engine, create)


def _open_sqlite(folder: Path, create: bool) -> PatientStorage:
    if is_remote(folder):
        raise InputError(
            f"{folder} is on object storage, where SQLite does not work: name a database with "
            f"{STORAGE_VARIABLE} or --storage"
        )
    path = folder / "study.db"
    if not create and not path.exists():
        raise InputError(
            f"run folder {folder} has no study.db: if its study is in a database, name it with "
            f"--storage or {STORAGE_VARIABLE}"
        )
    if not create and path.is_file() and not path.stat().st_size:
        raise InputError(f"{path} is empty: copy the run's folder again from where it was made")
    # The path is passed to sqlite3 directly: in an address, `?` and `%` have a special meaning.
    connect = functools.partial(sqlite3.connect, path, timeout=_LOCKED_S, check_same_thread=False)
    storage = PatientStorage("sqlite:///study.db", {"creator": connect}, create)
    storage.name = str(path)
    return storage


def _patient(method: Callable[..., R]) -> Callable[..., R]:
    @functools.wraps(method)
    def call(self: PatientStorage, *args: Any, **kwargs: Any) -> R:
        return self.wait_out(lambda: method(self, *args, **kwargs))

    return call


class DamagedStudyError(InputError):
    """The file of a study holds what no version has written."""


_DAMAGED = re.compile("database disk image is malformed|file is not a database|no such (table|col)")
"""Beginnings of what SQLite says about a damaged file."""


class PatientStorage(HookedStorage):
    """Optuna's storage with calls that wait for an unreachable server.

    A call is repeated if its answer was lost, so every call can be repeated safely. Attributes are
    set to the same value again. A trial that has the wanted state is not ended again. A repeated
    call finds a new study by its name, and a new trial by a token that it carries. What only
    Optuna's `ask` and `tell` call does not wait: the ledger uses `add_trial` and `end_trial`.
    """

    patience_s = 0.0
    fence: Callable[[], None] | None = None
    """Called before each retry: the lease may have expired during the wait."""
    name = "the study's storage"

    def __init__(self, address: str, engine: dict[str, Any], create: bool) -> None:
        """Connect to a database that holds studies, or `create` its tables.

        Raises:
            InputError: If there is no table of studies, as in an empty, truncated or unrelated
                file, and `create` is False.
        """
        try:
            super().__init__(
                address,
                engine_kwargs=engine,
                skip_compatibility_check=not create,
                skip_table_creation=not create,
            )
            if not create and not inspect(self.engine).has_table("studies"):
                raise InputError("the study's database holds no studies: is it the right one?")
        except BaseException:
            # The traceback keeps this object, so its connections would stay open.
            if hasattr(self, "engine"):
                self.engine.dispose()
            raise
        # The connections are closed when the storage is garbage-collected.
        weakref.finalize(self, self.engine.dispose)
        self.patience_s = PATIENCE_S

    def wait_out(self, call: Callable[[], R]) -> R:
        """Repeat a call until the server answers.

        Raises:
            WorkError: If the call still fails after `patience_s` seconds.
            DamagedStudyError: If pages or tables of a file are damaged or missing.
        """

        def attempt() -> R:
            if self.fence is not None and retrying.statistics["attempt_number"] > 1:
                self.fence()
            return call()

        retrying = patient(retry_if_exception(self._is_away), self.patience_s)
        try:
            return retrying(attempt)
        except (StorageInternalError, DBAPIError) as error:
            if not self.patience_s:
                raise
            if self.engine.dialect.name == "sqlite" and _DAMAGED.match(_reason(error)):
                raise DamagedStudyError(
                    f"{self.name} is damaged ({_reason(error)}): copy it again from where it was "
                    "made"
                ) from None
            raise WorkError(f"{self.name} failed: {_reason(error)}") from None

    def _is_away(self, error: BaseException) -> bool:
        """Return whether waiting can help.

        It cannot help with SQLite, which has its own timeout, nor with a full disk.
        """
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        # PendingRollbackError: Optuna continued a call after its connection was lost.
        away = OperationalError | InterfaceError | PendingRollbackError
        return isinstance(cause, away) and self.engine.dialect.name != "sqlite"

    @functools.cached_property
    def _rows_are_known(self) -> bool:
        """True if `search.store.rows` knows the schema of Optuna's tables."""

        def ask() -> bool:
            with self.engine.connect() as connection:
                return is_known(connection)

        return self.wait_out(ask)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """Create a study, or find the one that an earlier attempt has created.

        The lease of its name keeps others out.
        """
        called = False

        def create() -> int:
            nonlocal called
            is_first, called = not called, True
            try:
                return HookedStorage.create_new_study(self, directions, study_name)
            except DuplicatedStudyError:
                if is_first or study_name is None:
                    raise
                return self.get_study_id_from_name(study_name)

        return self.wait_out(create)

    def add_trial(self, study_id: int, content: FrozenTrial) -> FrozenTrial:
        """Write a new trial in one transaction.

        The trial is written exactly once, even if an answer is lost, and never in part. Optuna's
        `create_new_trial` would create a second trial if an answer is lost.

        Returns:
            A copy of `content` with the trial's number and id.
        """
        created, token = copy.copy(content), uuid.uuid4().hex
        created.system_attrs = {**content.system_attrs, CREATION: token}
        called, rows_are_known = False, self._rows_are_known

        def create() -> FrozenTrial:
            nonlocal called
            with self.session() as session:
                # The row stays locked until the end, so that an earlier call can finish first.
                models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
                found = _created(session, study_id, token) if called else None
                called = True
                if found is not None:
                    number, identity = found.number, found.trial_id
                elif rows_are_known:
                    number, identity = write_trial(session.connection(), study_id, created)
                else:
                    trial = self.insert_trial(session, study_id, created)
                    session.flush()
                    number, identity = trial.number, trial.trial_id
            created.number = number
            set_trial_id(created, identity)
            return created

        return self.wait_out(create)

    def end_trial(
        self,
        trial_id: int,
        state: TrialState,
        values: Sequence[float] | None,
        attributes: Mapping[str, Any],
    ) -> None:
        """Set a trial's last attributes, its values and its state in one transaction.

        Raises:
            UpdateFinishedTrialError: If the trial had already ended.
        """
        called = False

        def end() -> None:
            nonlocal called
            with self.session() as session:
                trial: Any = models.TrialModel.find_or_raise_by_id(
                    trial_id, session, for_update=True
                )
                if called and trial.state is state:
                    return
                called = True
                for key, value in attributes.items():
                    self.insert_attribute(session, trial_id, key, value)
                for objective, value in enumerate(values or ()):
                    self.insert_value(session, trial, objective, value)
                self.check_trial_is_updatable(trial_id, trial.state)
                trial.state, trial.datetime_complete = state, datetime.now()

        self.wait_out(end)

    def find_trials(
        self, study_id: int, states: Container[TrialState] | None, besides: set[int], after: int
    ) -> list[FrozenTrial]:
        """See `HookedStorage`. This version needs fewer and cheaper queries."""

        def get() -> list[FrozenTrial]:
            if states is None and self._rows_are_known:
                with self.engine.connect() as connection:
                    return read_trials(connection, study_id, after, besides)
            return HookedStorage.find_trials(self, study_id, states, besides, after)

        return self.wait_out(get)


for _name in (
    "delete_study", "set_study_user_attr", "set_study_system_attr",
    "get_study_id_from_name", "get_study_name_from_id", "get_study_directions",
    "get_study_user_attrs", "get_study_system_attrs", "get_all_studies",
    "get_trial_id_from_study_id_trial_number", "set_trial_user_attr", "set_trial_system_attr",
    "get_trial",
):  # fmt: skip
    setattr(PatientStorage, _name, _patient(getattr(HookedStorage, _name)))


def _created(session: Session, study_id: int, token: str) -> Any:
    """Return the trial that was created with this token; None if there is none."""
    notes = models.TrialSystemAttributeModel
    return (
        session.query(models.TrialModel)
        .join(notes)
        .filter(models.TrialModel.study_id == study_id)
        .filter(notes.key == CREATION, notes.value_json == json.dumps(token))
        .one_or_none()
    )


def _reason(error: BaseException) -> str:
    """Return the first line of the driver's message, or the error's type if it holds an address."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    origin = getattr(cause, "orig", None)
    lines = str(origin or "").strip().splitlines()
    if not lines or "://" in lines[0]:
        return type(cause or error).__name__
    return lines[0][:300]
