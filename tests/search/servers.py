"""Real servers for tests, each a child process on loopback: PostgreSQL and an S3-compatible one."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import wait_until

PASSWORD = "hunter2-not-to-be-seen"


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class PostgreSQL:
    """A server of its own: data in a folder, one user with a password, on loopback alone."""

    def __init__(self, folder: Path) -> None:
        """Make the data; `start` it before use."""
        self._folder, self.port = folder, free_port()
        # The server refuses to run as root; Debian's package brings a user for it.
        self._user = "postgres" if os.geteuid() == 0 else getpass.getuser()
        password = folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, password):
                shutil.chown(path, "postgres")
        self._run(
            program("initdb"), "--pgdata", str(folder / "data"), "--username", "dip", "--no-sync",
            "--auth", "scram-sha-256", "--pwfile", str(password), "--encoding", "UTF8",
        )  # fmt: skip

    @property
    def url(self) -> str:
        """With the password: what a user puts in the environment."""
        return f"postgresql://dip:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._run(
            program("pg_ctl"), "start", "--wait", "--pgdata", str(self._folder / "data"),
            "--log", str(self._folder / "log"), "--options",
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' "
            "-c fsync=off -c max_connections=200",
        )  # fmt: skip

    def stop(self) -> None:
        """At once, as a crash would: open connections are cut."""
        self._run(
            program("pg_ctl"), "stop", "--wait", "--mode", "immediate",
            "--pgdata", str(self._folder / "data"),
        )  # fmt: skip

    def _run(self, *command: str) -> None:
        as_user = {"user": self._user} if os.geteuid() == 0 else {}
        subprocess.run(
            command, check=True, cwd=self._folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **as_user,
        )  # type: ignore[call-overload]  # fmt: skip


def program(name: str) -> str:
    """A program of PostgreSQL, on the path or where Debian keeps it."""
    found = shutil.which(name)
    if found is None:
        places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        if not places:
            pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
        found = str(places[-1])
    return found


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A server that runs for the time of the block."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        Path(folder).chmod(0o755)
        server = PostgreSQL(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def object_storage(port: int | None = None) -> Iterator[dict[str, str]]:
    """An S3-compatible server with an empty bucket `runs`; yields the environment that finds it."""
    port = port or free_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        wait_until(lambda: _listens(port))
        import boto3

        client = boto3.client(
            "s3", endpoint_url=environment["AWS_ENDPOINT_URL"], aws_access_key_id="key",
            aws_secret_access_key=PASSWORD, region_name="us-east-1",
        )  # fmt: skip
        client.create_bucket(Bucket="runs")
        # Clients are kept by their arguments, which do not say which server the environment means.
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        yield environment
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=20)
