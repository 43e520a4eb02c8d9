"""A head whose dashboard answers before its agent for jobs has started."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fake_runs import experiment

from dipstage.errors import InputError
from search.execution import ray_internals
from search.remote.jobs import Cluster
from search.remote.upload import Submission

pytestmark = pytest.mark.ray

LATE = b"No available agent to submit job, please try again later."
"""Ray's answer, with status 500."""


@contextmanager
def dashboard(late: int) -> Iterator[tuple[Cluster, list[str]]]:
    """A dashboard that refuses its first `late` jobs, and the ids of all that it was sent."""
    ids: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

        def answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            known = {"version": "4", "ray_version": "2.60.0", "ray_commit": "0"}
            # Also of the package of an upload: it is there.
            self.answer(200, json.dumps(known).encode())

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            ids.append(json.loads(body)["submission_id"])
            if len(ids) <= late:
                self.answer(500, LATE)
            else:
                name = {"job_id": ids[-1], "submission_id": ids[-1]}
                self.answer(200, json.dumps(name).encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Cluster(f"http://127.0.0.1:{server.server_port}"), ids
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_agent_that_is_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with dashboard(late=2) as (cluster, ids):
        job = cluster.submit(Submission(experiment()))
    assert ids == [job] * 3


def test_an_agent_that_does_not_come_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_internals, "_AGENT_S", 0)
    with dashboard(late=9) as (cluster, ids), pytest.raises(InputError) as error:
        cluster.submit(Submission(experiment()))
    assert len(ids) == 1
    assert LATE.decode() in str(error.value)
