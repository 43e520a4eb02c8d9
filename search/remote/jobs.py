"""Searches as jobs of a remote Ray cluster, through its Jobs API and nothing else.

Ray shows a job's entrypoint, metadata and runtime environment to everybody who may list jobs, so
nothing secret goes into them: a study's address comes from the environment of the cluster's head.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from dipstage.errors import InputError
from search.experiment.names import RUN_NAME
from search.remote import fetching, upload
from search.remote.fetching import Origin
from search.remote.upload import Submission, on_head

GRACE_S = 60
"""How long a driver that was asked to end may take; Ray's own 3 s are less than it needs."""
_CONNECT_S, _ANSWER_S, _TRANSFER_S = 10, 20, 300
_METADATA = {"job": "dipsearch_id", "name": "dipsearch_name", "runs_dir": "dipsearch_runs_dir"}


@dataclass(frozen=True, slots=True)
class State:
    """A job at this moment. state: Ray's word, in small letters. reason: Ray's, of a failure."""

    origin: Origin
    state: str
    reason: str

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("succeeded", "failed", "stopped")


class Cluster:
    """The Jobs API at an address. Whatever keeps it from answering is an InputError."""

    def __init__(self, address: str) -> None:
        """`address` begins with http:// or https://; nothing is asked of it yet."""
        if not address.startswith(("http://", "https://")):
            raise InputError(
                f"--address must begin with http:// or https://, such as http://HEAD:8265 for a "
                f"cluster's dashboard, got {address!r}"
            )
        self._address = address

    @cached_property
    def _client(self) -> Any:
        from search.execution.ray_internals import job_client

        with _without("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            return job_client(self._address, _CONNECT_S, _ANSWER_S, _TRANSFER_S)

    @contextmanager
    def _answering(self, job: str = "") -> Iterator[Any]:
        """The client; its errors as one sentence."""
        if job and not re.fullmatch(RUN_NAME, job):
            raise InputError(f"a job's id is such as NAME-3f2a91c0, got {job!r}")
        from aiohttp import ClientError
        from ray.exceptions import AuthenticationError

        try:
            yield self._client
        except AuthenticationError as error:
            what = "is not the cluster's" if "Invalid" in str(error) else "is missing"
            raise InputError(
                f"--address {self._address}: the cluster refuses, the token {what}: set "
                "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
            ) from None
        except (OSError, KeyError, ClientError) as error:
            reason = type(error).__name__
            raise InputError(
                f"--address {self._address}: no Ray dashboard answers there ({reason})"
            ) from None
        except (RuntimeError, ValueError) as error:
            if "Version check returned 404" in str(error):
                raise InputError(f"--address {self._address} is no Ray dashboard") from None
            if job and "status code 404" in str(error):
                raise InputError(f"--address {self._address} knows no job {job!r}") from None
            *_, last = ["it failed", *str(error).strip().splitlines()]
            raise InputError(f"--address {self._address}: {last[:400]}") from None

    def submit(self, submission: Submission) -> str:
        """Send a search that `upload.check` passed, and start it; its id."""
        name = submission.experiment.name
        job = f"{name}-{secrets.token_hex(4)}"
        origin = Origin(job, name, submission.runs_dir)
        self._start(
            job,
            submission.entrypoint,
            lambda folder: upload.pack_search(submission.experiment, folder),
            {key: getattr(origin, field) for field, key in _METADATA.items()},
        )
        return job

    def _start(
        self, job: str, entrypoint: str, fill: Callable[[Path], None], metadata: dict[str, str]
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="dipsearch-") as folder:
            fill(Path(folder))
            with self._answering() as ray:
                # Without CPUs of its own, and therefore on the head: where runs live.
                ray.submit_job(
                    entrypoint=entrypoint,
                    submission_id=job,
                    metadata=metadata,
                    runtime_env={
                        "working_dir": folder,
                        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(GRACE_S)},
                    },
                )

    def state(self, job: str) -> State:
        """How a job is; InputError for one that `submit` did not start."""
        with self._answering(job) as ray:
            info = ray.get_job_info(job)
        known = info.metadata or {}
        if not set(_METADATA.values()) <= known.keys():
            raise InputError(f"job {job} was not started by dipsearch submit")
        fields = {field: str(known[key]) for field, key in _METADATA.items()}
        if not re.fullmatch(RUN_NAME, fields["name"]):
            raise InputError(f"job {job} names no run: {fields['name']!r}")
        return State(Origin(**fields), str(info.status.value).lower(), str(info.message or ""))

    def log(self, job: str) -> str:
        """All that a job printed so far."""
        with self._answering(job) as ray:
            return str(ray.get_job_logs(job))

    def follow(self, job: str) -> Generator[str]:
        """What a job prints, piece by piece, until it ends."""
        with self._answering(job) as ray, asyncio.Runner() as runner:
            pieces = ray.tail_job_logs(job)
            while (piece := runner.run(_next(pieces))) is not None:
                yield piece

    def stop(self, job: str, wait_s: float = GRACE_S + 30) -> State:
        """Ask a job to end, and wait until it has ended; its last state."""
        if not (state := self.state(job)).ended:
            with self._answering(job) as ray:
                ray.stop_job(job)
        deadline = time.monotonic() + wait_s
        while not (state := self.state(job)).ended and time.monotonic() < deadline:
            time.sleep(0.5)
        return state

    def fetch(self, job: str, runs_dir: Path, *, replace: bool = False) -> Path:
        """Bring a job's run here, as it is at this moment; its folder.

        A second job packs it on the head and prints it. InputError where a run of that name is
        here that must not be lost, and where there is nothing to fetch; `fetching.DamagedError`
        for what did not arrive as it left.
        """
        origin = self.state(job).origin
        if "://" in origin.runs_dir:
            raise InputError(
                f"run {origin.name!r} is on object storage already: read it there by dipsearch "
                f"pareto {origin.name} --runs-dir {shlex.quote(origin.runs_dir)}"
            )
        fetching.refuse_to_overwrite(origin, runs_dir, replace=replace)
        where = f"{on_head(origin.runs_dir)} {shlex.quote(origin.name)}"
        line = f"exec python -m search.remote.archive {where}"
        packer = f"fetch-{job}-{secrets.token_hex(4)}"
        self._start(packer, line, upload.pack_code, {"dipsearch_fetches": job})
        try:
            with tempfile.TemporaryDirectory(prefix="dipsearch-") as aside:
                archive = Path(aside) / "run.tar"
                with archive.open("xb") as file:
                    self._receive(packer, file)
                return fetching.install(archive, origin, runs_dir, replace=replace)
        finally:
            with suppress(InputError):
                self._forget(packer)

    def _receive(self, packer: str, file: IO[bytes]) -> None:
        try:
            with closing(self.follow(packer)) as text:
                fetching.receive(text, file)
        except fetching.DamagedError as error:
            with self._answering(packer) as ray:
                message = str(ray.get_job_info(packer).message or "").strip()
            if not message:
                raise
            raise fetching.DamagedError(f"{error}: {message.splitlines()[-1][:400]}") from None

    def _forget(self, packer: str) -> None:
        """Take the archiving job off the cluster's list, whatever became of it."""
        with self._answering(packer) as ray:
            ray.stop_job(packer)
            deadline = time.monotonic() + _CONNECT_S
            while not ray.get_job_status(packer).is_terminal() and time.monotonic() < deadline:
                time.sleep(0.2)
            ray.delete_job(packer)


async def _next(pieces: Any) -> str | None:
    """The next piece of a log, None after the last."""
    return await anext(pieces, None)


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """The environment without some variables, which Ray would heed rather than --address."""
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)
