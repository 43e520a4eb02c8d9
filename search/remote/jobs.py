"""Searches as jobs of a remote Ray cluster, through Ray's Jobs API only.

Ray shows the entrypoint, metadata and runtime environment of a job to everyone who may list jobs,
so they contain no secrets: the address of a study comes from the environment of the cluster's head.
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
from urllib.parse import urlsplit

from dipstage.errors import InputError
from search.experiment.names import RUN_NAME
from search.remote import CLUSTER_VARIABLE, fetching, upload
from search.remote.fetching import Origin
from search.remote.head import Head, question
from search.remote.upload import Submission, quoted_for_head

GRACE_S = 120
"""Seconds that a driver may take to stop. Ray's default of 3 s is too short."""
_CONNECT_S, _ANSWER_S, _TRANSFER_S = 10, 20, 300
_METADATA = {"job": "dipsearch_id", "name": "dipsearch_name", "runs_dir": "dipsearch_runs_dir"}


@dataclass(frozen=True, slots=True)
class State:
    """The present state of a job.

    state: Ray's word for it, in lower case. reason: Ray's message, for example about a failure.
    """

    origin: Origin
    state: str
    reason: str

    @property
    def ended(self) -> bool:
        """True if the job has ended."""
        return self.state in ("succeeded", "failed", "stopped")


class Cluster:
    """The Jobs API of a cluster. Every failure to reach it is raised as an InputError."""

    def __init__(self, address: str) -> None:
        """Check that `address` is one of the web without a password, and contact nobody."""
        is_from_environment = os.environ.get(CLUSTER_VARIABLE) == address
        by = CLUSTER_VARIABLE if is_from_environment else "--address"
        self._address, self._named = address, f"{by} {address}"
        if "@" in address:
            raise InputError(
                f"{by} holds a user or a password, which would be printed: leave it out; a "
                "cluster's token is given as RAY_AUTH_TOKEN"
            )
        if not address.startswith(("http://", "https://")):
            raise InputError(
                f"{by} must begin with http:// or https://, such as http://HEAD:8265 for a "
                f"cluster's dashboard, got {address!r}"
            )
        try:
            url = urlsplit(address)
            is_whole = url.hostname and url.port != 0 and not re.search(r"\s", address)
        except ValueError:  # The port is no number, or a bracket is missing.
            is_whole = False
        if not is_whole:
            raise InputError(
                f"{by} must name a host, and a port if any, such as http://HEAD:8265, got "
                f"{address!r}"
            )

    @cached_property
    def _client(self) -> Any:
        from search.execution.ray_internals import hidden_variables, job_client

        # Ray would prefer these to --address.
        with hidden_variables("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
            return job_client(self._address, _CONNECT_S, _ANSWER_S, _TRANSFER_S)

    @contextmanager
    def _connected(self, job: str = "") -> Iterator[Any]:
        """Yield the client, and turn its errors into InputErrors of one sentence."""
        if job and not re.fullmatch(RUN_NAME, job):
            raise InputError(f"the id of a job must be like NAME-3f2a91c0, got {job!r}")
        from aiohttp import ClientError
        from ray.exceptions import AuthenticationError

        try:
            yield self._client
        except AuthenticationError as error:
            what = "is wrong" if "Invalid" in str(error) else "is missing"
            raise InputError(
                f"{self._named}: the cluster refuses access, the token {what}: set "
                "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
            ) from None
        except (OSError, KeyError, ClientError) as error:
            reason = type(error).__name__
            raise InputError(f"{self._named}: no Ray dashboard answers there ({reason})") from None
        except (RuntimeError, ValueError) as error:
            if "Version check returned 404" in str(error):
                raise InputError(f"{self._named} is not a Ray dashboard") from None
            if job and "status code 404" in str(error):
                raise InputError(f"{self._named} knows no job {job!r}") from None
            *_, last = ["the request failed", *str(error).strip().splitlines()]
            raise InputError(f"{self._named}: {last[:400]}") from None

    def ask(self, submission: Submission) -> Head:
        """Ask the head what it has, by a job of a few seconds without an upload."""
        job = _new_id(f"check-{submission.experiment.name}")
        with self._connected() as ray:
            ray.submit_job(
                entrypoint=question(submission),
                submission_id=job,
                metadata={"dipsearch_checks": submission.experiment.name},
            )
        try:
            with closing(self.follow(job)) as text:
                return Head.read(text)
        finally:
            with suppress(InputError):
                self._delete_job(job)

    def submit(self, submission: Submission) -> str:
        """Send a search that `upload.check` accepted, start it, and return the id of its job."""
        name = submission.experiment.name
        job = _new_id(name)
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
            with self._connected() as ray:
                # A job that reserves no CPUs runs on the head, where runs are stored.
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
        """Return the state of a job; InputError if `submit` did not start it."""
        with self._connected(job) as ray:
            info = ray.get_job_info(job)
        known = info.metadata or {}
        if not set(_METADATA.values()) <= known.keys():
            raise InputError(f"job {job} was not started by dipsearch submit")
        fields = {field: str(known[key]) for field, key in _METADATA.items()}
        if not re.fullmatch(RUN_NAME, fields["name"]):
            raise InputError(f"job {job} has no valid name of a run: {fields['name']!r}")
        return State(Origin(**fields), str(info.status.value).lower(), str(info.message or ""))

    def log(self, job: str) -> str:
        """Return all that a job has printed so far."""
        with self._connected(job) as ray:
            return str(ray.get_job_logs(job))

    def follow(self, job: str) -> Generator[str]:
        """Yield the output of a job piece by piece until the job ends."""
        with self._connected(job) as ray, asyncio.Runner() as runner:
            pieces = ray.tail_job_logs(job)
            while (piece := runner.run(_next(pieces))) is not None:
                yield piece

    def stop(self, job: str) -> State:
        """Ask a job to stop, wait until it has ended, and return its last state."""
        if not (state := self.state(job)).ended:
            with self._connected(job) as ray:
                ray.stop_job(job)
        deadline = time.monotonic() + GRACE_S + 30
        while not (state := self.state(job)).ended and time.monotonic() < deadline:
            time.sleep(0.5)
        return state

    def fetch(self, job: str, runs_dir: Path, *, replace: bool = False) -> Path:
        """Copy the run of a job to this machine in its present state, and return its folder.

        A second job on the head packs the run and prints it. InputError if there is nothing to
        fetch, or if a run of that name is here that must not be lost; `fetching.DamagedError` if
        the run did not arrive intact.
        """
        origin = self.state(job).origin
        if "://" in origin.runs_dir:
            raise InputError(
                f"run {origin.name!r} is on object storage: read it there with dipsearch "
                f"pareto {origin.name} --runs-dir {shlex.quote(origin.runs_dir)}"
            )
        fetching.check_overwrite(origin, runs_dir, replace=replace)
        where = f"{quoted_for_head(origin.runs_dir)} {shlex.quote(origin.name)}"
        line = f"exec python -m search.remote.archive {where}"
        archiving_job = _new_id(f"fetch-{job}")
        self._start(archiving_job, line, upload.pack_code, {"dipsearch_fetches": job})
        try:
            with tempfile.TemporaryDirectory(prefix="dipsearch-") as aside:
                archive = Path(aside) / "run.tar"
                with archive.open("xb") as file:
                    self._receive(archiving_job, file)
                return fetching.install(archive, origin, runs_dir, replace=replace)
        finally:
            with suppress(InputError):
                self._delete_job(archiving_job)

    def _receive(self, archiving_job: str, file: IO[bytes]) -> None:
        try:
            with closing(self.follow(archiving_job)) as text:
                fetching.receive(text, file)
        except fetching.DamagedError as error:
            with self._connected(archiving_job) as ray:
                message = str(ray.get_job_info(archiving_job).message or "").strip()
            if not message:
                raise
            raise fetching.DamagedError(f"{error}: {message.splitlines()[-1][:400]}") from None

    def _delete_job(self, job: str) -> None:
        """Remove a job that helped from the cluster's list, whether or not it succeeded."""
        with self._connected(job) as ray:
            ray.stop_job(job)
            deadline = time.monotonic() + _CONNECT_S
            while not ray.get_job_status(job).is_terminal() and time.monotonic() < deadline:
                time.sleep(0.2)
            ray.delete_job(job)


def _new_id(words: str) -> str:
    """Return the id of a new job, which is at most as long as the name of a run may be."""
    return f"{words[:91]}-{secrets.token_hex(4)}"


async def _next(pieces: Any) -> str | None:
    """Return the next piece of a log, or None after the last."""
    return await anext(pieces, None)
