"""The database of a study: SQLite in the run's folder, or a server that several people share.

A server may restart or be away for a while. Every call waits for it, for `PATIENCE_S` at most;
what cannot be waited out ends the search with a sentence, and a resume goes on.
"""

from __future__ import annotations

import copy
import functools
import json
import logging
import os
import sqlite3
import uuid
import weakref
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import inspect, make_url
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
from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from dipstage.errors import InputError, WorkError
from search.store.optuna_internals import HookedStorage, models, set_trial_id
from search.store.paths import is_remote
from search.store.rows import is_known, read_trials, write_trial

R = TypeVar("R")

ADDRESS_VARIABLE = "DIPSEARCH_STORAGE"
CREATION = "dipsearch:creation"
"""System attribute of a trial: the token of the call that created it."""
PATIENCE_S = 120.0
"""How long a call waits for a database server that is away."""
_LOCKED_S = 60.0
"""How long SQLite waits for another process that holds the file."""

optuna.logging.set_verbosity(optuna.logging.ERROR)
# An interrupt in the middle of a query is told by us; SQLAlchemy would print its traceback too.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)


def storage_address(given: str | None = None) -> str | None:
    """The address that a command was given, else the environment's; None for SQLite."""
    return given or os.environ.get(ADDRESS_VARIABLE) or None


def refuse_password(address: str) -> None:
    """InputError for a password in a command line, where every process list shows it."""
    try:
        url = make_url(address)
    except ArgumentError:
        raise InputError(_UNKNOWN) from None
    if url.password is not None or any("password" in key.lower() for key in url.query):
        raise InputError(
            "--storage holds a password, which process lists show: give the address in the "
            f"environment as {ADDRESS_VARIABLE}, or the password in ~/.pgpass"
        )


_UNKNOWN = "--storage is no database address that SQLAlchemy knows"


def open_storage(folder: Path, url: str | None, *, create: bool = False) -> PatientStorage:
    """Optuna's storage at `url`, by default SQLite in the run's folder.

    InputError if there is none, or if it cannot be opened.
    """
    if url is None:
        return _open_sqlite(folder, create)
    try:
        address = make_url(url)
        if address.drivername in ("postgresql", "postgres"):
            address = address.set(drivername="postgresql+psycopg")
        engine: dict[str, Any] = {"pool_pre_ping": True}
        if address.get_backend_name() == "postgresql":
            # A server that vanished without a word is noticed within half a minute.
            engine["connect_args"] = {
                "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5,
                "keepalives_count": 3, "tcp_user_timeout": 25_000,
            }  # fmt: skip
        return _checked(
            PatientStorage(
                address.render_as_string(hide_password=False),
                engine_kwargs=engine,
                skip_compatibility_check=not create,
                skip_table_creation=not create,
            ),
            create,
        )
    except (ArgumentError, NoSuchModuleError):
        # The message would repeat the address, and with it a password.
        raise InputError(_UNKNOWN) from None
    except ImportError as error:
        raise InputError(
            f"--storage needs a driver that is not installed ({error.name or 'unknown'}): for "
            "PostgreSQL pip install 'dipsearch[postgresql]'"
        ) from None
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise InputError(
            f"--storage cannot be opened as a study's database: {_reason(error)}"
        ) from None


def _open_sqlite(folder: Path, create: bool) -> PatientStorage:
    if is_remote(folder):
        raise InputError(
            f"{folder} is on object storage, where SQLite cannot live: name a database with "
            f"{ADDRESS_VARIABLE} or --storage"
        )
    path = folder / "study.db"
    if not create and not path.exists():
        raise InputError(
            f"run folder {folder} has no study.db: if its study is in a database, name it with "
            f"--storage or {ADDRESS_VARIABLE}"
        )
    # The path goes to sqlite3 itself: in an address, `?` and `%` would mean something else.
    connect = functools.partial(sqlite3.connect, path, timeout=_LOCKED_S, check_same_thread=False)
    try:
        storage = PatientStorage(
            "sqlite:///study.db",
            engine_kwargs={"creator": connect},
            skip_compatibility_check=not create,
            skip_table_creation=not create,
        )
        storage.name = str(path)
        return _checked(storage, create)
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise InputError(
            f"{path} cannot be opened as a study's database: {_reason(error)}"
        ) from None


def _checked(storage: PatientStorage, create: bool) -> PatientStorage:
    """A file that is empty, cut off or of another program holds no studies."""
    if not create and not inspect(storage.engine).has_table("studies"):
        raise InputError("the study's database holds no studies: is it the right one?")
    storage.patience_s = PATIENCE_S
    return storage


def _patient(method: Callable[..., R]) -> Callable[..., R]:
    @functools.wraps(method)
    def call(self: PatientStorage, *args: Any, **kwargs: Any) -> R:
        return self.wait_out(lambda: method(self, *args, **kwargs))

    return call


class PatientStorage(HookedStorage):
    """Optuna's storage, whose calls wait for a server that is away.

    A call whose answer got lost is made again, so each must bear that: attributes and parameters
    are set to the same value, a state is looked at before it counts as refused, and a trial
    carries a token by which a second call finds it.
    """

    patience_s = 0.0
    fence: Callable[[], None] | None = None
    """Called before a call is made again: whoever waited may have been taken for dead."""
    name = "the study's storage"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See `RDBStorage`."""
        super().__init__(*args, **kwargs)
        # Its connections end with it.
        weakref.finalize(self, self.engine.dispose)

    def wait_out(self, call: Callable[[], R]) -> R:
        """Call until the server answers; WorkError when that has taken `patience_s`."""

        def is_over(state: RetryCallState) -> bool:
            return (state.seconds_since_start or 0.0) >= self.patience_s

        retrying = Retrying(
            retry=retry_if_exception(self._is_away),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            stop=is_over,
            reraise=True,
        )
        try:
            return retrying(self._fenced(call))
        except (StorageInternalError, DBAPIError) as error:
            if not self.patience_s:
                raise
            raise WorkError(f"{self.name} failed: {_reason(error)}") from None

    def _fenced(self, call: Callable[[], R]) -> Callable[[], R]:
        waited = False

        def attempt() -> R:
            nonlocal waited
            if waited and self.fence is not None:
                self.fence()
            waited = True
            return call()

        return attempt

    def _is_away(self, error: BaseException) -> bool:
        """Whether waiting can help. SQLite has waited by itself, and a full disk stays full."""
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        # The last of them: a connection was lost within a call of Optuna's that went on.
        away = OperationalError | InterfaceError | PendingRollbackError
        return isinstance(cause, away) and self.engine.dialect.name != "sqlite"

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Any = None) -> bool:
        """See `BaseStorage`."""
        told = False

        def tell() -> bool:
            nonlocal told
            try:
                first, told = not told, True
                return bool(RDBStorage.set_trial_state_values(self, trial_id, state, values))
            except UpdateFinishedTrialError:
                if first or self.get_trial(trial_id).state is not state:
                    raise
                return True

        return self.wait_out(tell)

    @functools.cached_property
    def _rows_are_known(self) -> bool:
        """Whether Optuna's tables are those that `search.store.rows` reads and writes."""

        def ask() -> bool:
            with self.engine.connect() as connection:
                return is_known(connection)

        return self.wait_out(ask)

    def add_trial(self, study_id: int, content: FrozenTrial) -> FrozenTrial:
        """Write a new trial in one transaction; returns it with its number and id.

        It is there once, even if an answer gets lost, and whole or not at all. `create_new_trial`
        of Optuna would create again by itself what was not answered.
        """
        created, token = copy.copy(content), uuid.uuid4().hex
        created.system_attrs = {**content.system_attrs, CREATION: token}
        called, rows_are_known = False, self._rows_are_known

        def create() -> FrozenTrial:
            nonlocal called
            with self.session() as session:
                # Held until the end, so that a call which is still under way is waited for.
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
        """Set a trial's last attributes, its values and its state, all or none of them.

        UpdateFinishedTrialError for a trial that had ended before.
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
        """See `HookedStorage`; the same in fewer and cheaper queries."""

        def get() -> list[FrozenTrial]:
            if states is None and self._rows_are_known:
                with self.engine.connect() as connection:
                    return read_trials(connection, study_id, after, besides)
            return HookedStorage.find_trials(self, study_id, states, besides, after)

        return self.wait_out(get)

    create_new_study = _patient(RDBStorage.create_new_study)
    delete_study = _patient(RDBStorage.delete_study)
    set_study_user_attr = _patient(RDBStorage.set_study_user_attr)
    set_study_system_attr = _patient(RDBStorage.set_study_system_attr)
    get_study_id_from_name = _patient(RDBStorage.get_study_id_from_name)
    get_study_name_from_id = _patient(RDBStorage.get_study_name_from_id)
    get_study_directions = _patient(RDBStorage.get_study_directions)
    get_study_user_attrs = _patient(RDBStorage.get_study_user_attrs)
    get_study_system_attrs = _patient(RDBStorage.get_study_system_attrs)
    get_all_studies = _patient(RDBStorage.get_all_studies)
    get_trial_id_from_study_id_trial_number = _patient(
        RDBStorage.get_trial_id_from_study_id_trial_number
    )
    set_trial_user_attr = _patient(RDBStorage.set_trial_user_attr)
    set_trial_system_attr = _patient(RDBStorage.set_trial_system_attr)
    get_trial = _patient(RDBStorage.get_trial)
    create_trial = _patient(HookedStorage.create_trial)
    write_param = _patient(HookedStorage.write_param)


def _created(session: Session, study_id: int, token: str) -> Any:
    """The trial that a call with this token created, if it did."""
    notes = models.TrialSystemAttributeModel
    return (
        session.query(models.TrialModel)
        .join(notes)
        .filter(models.TrialModel.study_id == study_id)
        .filter(notes.key == CREATION, notes.value_json == json.dumps(token))
        .one_or_none()
    )


def _reason(error: BaseException) -> str:
    """The driver's first line, if it holds no address; else what kind of error it was."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    origin = getattr(cause, "orig", None)
    lines = str(origin or "").strip().splitlines()
    if not lines or "://" in lines[0]:
        return type(cause or error).__name__
    return lines[0][:300]
