"""Lease on a run, kept in the study's database: it lets only one process drive the run at a time.

The driver renews its lease until it ends. A process on the same machine can check whether the
holder still exists, so the lease of a dead driver is free at once. For a process on another
machine, and for one that this machine hides, it expires after `STALE_S` without a renewal. Ages are
measured by the database's clock alone.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import psutil
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from dipstage.errors import InputError, WorkError
from search.store.storage import PatientStorage

BEAT_S = 5.0
STALE_S = 30.0

_leases = sa.Table(
    "dipsearch_leases",
    sa.MetaData(),
    sa.Column("name", sa.String(512), primary_key=True),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("host", sa.String(256), nullable=False),
    sa.Column("machine", sa.String(32), nullable=False),
    sa.Column("process", sa.Integer, nullable=False),
    sa.Column("process_began", sa.Float, nullable=False),
    sa.Column("since", sa.DateTime(timezone=True), nullable=False),
    sa.Column("renewed", sa.DateTime(timezone=True), nullable=False),
    sa.Column("renewals", sa.Integer, nullable=False),
)


_held: set[str] = set()
"""Tokens of the leases that this process holds. A row of its own that is not among them is stale:
the database could not be reached when that lease was released."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Holder of a lease: host name, process id, start time, and seconds since the last renewal."""

    host: str
    process: int
    since: datetime
    silent_s: float

    def __str__(self) -> str:
        return f"{self.host}, process {self.process}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"


def verifying(study: str) -> str:
    """Return the name of the lease that a run's confirmation or verification holds to its end.

    study: name of the study of the run itself.
    """
    return f"{study}/verify"


def holder(storage: PatientStorage, name: str) -> Holder | None:
    """Return who holds a lease now; None if it is free or its holder is dead."""
    if not storage.wait_out(lambda: sa.inspect(storage.engine).has_table(_leases.name)):
        return None
    row = storage.wait_out(lambda: _read(storage, name))
    return None if row is None or _is_dead(row) else _holder(row)


@contextmanager
def leased(storage: PatientStorage, name: str, what: str) -> Iterator[Lease]:
    """Hold a lease within the block; InputError names the holder if it is taken.

    what: the leased thing, as error messages name it.
    """
    lease = Lease(storage, name, what)
    lease.take()
    try:
        yield lease
    finally:
        lease.release()


class Lease:
    """Exclusive lease, renewed in the background; lost once expired and taken over by another."""

    def __init__(self, storage: PatientStorage, name: str, what: str) -> None:
        """Prepare a lease; `take` acquires it."""
        self._storage, self._name, self._what = storage, name, what
        self._token = uuid.uuid4().hex
        self._ended = threading.Event()
        self._renewed = 0.0
        self._lost = False

    def take(self) -> None:
        """Acquire the lease; InputError if a driver that may be alive holds it."""
        storage = self._storage
        storage.wait_out(lambda: _leases.create(storage.engine, checkfirst=True))
        row = storage.wait_out(lambda: _read(storage, self._name))
        if row is not None and not _is_dead(row):
            self._raise_taken(row)
        if not storage.wait_out(lambda: self._write(row)):
            self._raise_taken(storage.wait_out(lambda: _read(storage, self._name)))
        self._renewed = _clock()
        _held.add(self._token)
        storage.fence = self._check_held
        threading.Thread(target=self._renew_until_released, daemon=True).start()

    def check(self) -> None:
        """Raise WorkError if another driver took over because this one did not renew in time."""
        if _clock() - self._renewed > STALE_S / 2 or self._lost:
            self._storage.wait_out(self._check_held)

    def _check_held(self) -> None:
        self._renew()
        if self._lost:
            row = _read(self._storage, self._name)
            by = f" by {_holder(row)}" if row is not None else ""
            raise WorkError(
                f"{self._what} was taken over{by}, as this driver was silent for more than "
                f"{STALE_S:.0f} s: nothing that had finished is lost"
            )

    def release(self) -> None:
        """Free the lease for the next driver. Without a connection, it is left to expire."""
        self._ended.set()
        self._storage.fence = None
        _held.discard(self._token)
        with suppress(DBAPIError):
            self._execute(sa.delete(_leases).where(self._mine))

    def _write(self, seen: sa.Row[Any] | None) -> bool:
        """Write the lease if it is free or unchanged since `seen`; False if another was first."""
        mine = {
            "token": self._token, "host": platform.node(), "machine": _machine(),
            "process": os.getpid(), "process_began": psutil.Process().create_time(),
            "since": sa.func.now(), "renewed": sa.func.now(), "renewals": 0,
        }  # fmt: skip
        statement: sa.Insert | sa.Update = sa.insert(_leases).values(name=self._name, **mine)
        if seen is not None:
            as_seen = (_leases.c.token == seen.token) & (_leases.c.renewals == seen.renewals)
            statement = sa.update(_leases).where(_leases.c.name == self._name, as_seen).values(mine)
        with suppress(IntegrityError):
            if self._execute(statement):
                return True
        # Another process wrote it, or this call did in an earlier attempt whose answer was lost.
        now = _read(self._storage, self._name)
        return now is not None and now.token == self._token

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return (_leases.c.name == self._name) & (_leases.c.token == self._token)

    def _renew_until_released(self) -> None:
        while not self._ended.wait(BEAT_S) and not self._lost:
            with suppress(DBAPIError):  # No connection: the next beat, or `check`, tries again.
                self._renew()

    def _renew(self) -> None:
        renewal = {"renewed": sa.func.now(), "renewals": _leases.c.renewals + 1}
        if self._execute(sa.update(_leases).where(self._mine).values(renewal)):
            self._renewed = _clock()
        elif not self._ended.is_set():
            self._lost = True

    def _execute(self, statement: sa.Insert | sa.Update | sa.Delete) -> int:
        """Execute a statement; return the number of rows that it changed."""
        with self._storage.engine.begin() as connection:
            return int(connection.execute(statement).rowcount)

    def _raise_taken(self, row: sa.Row[Any] | None) -> NoReturn:
        if row is None:
            raise InputError(f"{self._what} had a driver that has just ended: try again")
        or_dead = ""
        if row.machine != _machine():
            left = max(1, round(STALE_S - _holder(row).silent_s))
            or_dead = f", or if it has died, for {left} s"
        raise InputError(
            f"{self._what} has a driver that is alive ({_holder(row)}): wait for it to end{or_dead}"
        )


def _clock() -> float:
    """Return a monotonic time in seconds that, where possible, includes time asleep."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _read(storage: PatientStorage, name: str) -> sa.Row[Any] | None:
    with storage.engine.connect() as connection:
        query = sa.select(_leases, sa.func.now().label("now")).where(_leases.c.name == name)
        return connection.execute(query).one_or_none()


def _holder(row: sa.Row[Any]) -> Holder:
    # Times from SQLite have no time zone; they are UTC.
    since = row.since if row.since.tzinfo else row.since.replace(tzinfo=UTC)
    silent_s = (row.now - row.renewed).total_seconds()
    return Holder(row.host, row.process, since.astimezone(UTC), silent_s)


def _is_dead(row: sa.Row[Any]) -> bool:
    is_silent = _holder(row).silent_s > STALE_S
    if row.machine != _machine():
        return is_silent
    if row.process == os.getpid():
        return row.token not in _held
    try:
        process = psutil.Process(row.process)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        # The process id may have been reused since.
        return bool(abs(process.create_time() - row.process_began) > 5)
    except psutil.NoSuchProcess:
        return is_silent or not _may_exist(row.process)
    except psutil.AccessDenied:
        return is_silent


def _may_exist(process: int) -> bool:
    """Return whether a process that psutil does not find may exist.

    /proc can be mounted so that it hides the processes of other users (`hidepid`).
    """
    try:
        with suppress(PermissionError):  # It exists, and is another user's.
            os.kill(process, 0)  # Nothing is sent: 0 asks only whether it could be.
    except ProcessLookupError:
        return False
    return True


@functools.cache
def _machine() -> str:
    """Return an id that two processes share only if they see each other's process ids."""
    parts = [platform.node(), str(uuid.getnode())]
    with suppress(OSError):
        parts = [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            os.readlink("/proc/self/ns/pid"),
        ]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]
