"""Server of optuna-dashboard for a copy of a run's study: read-only and without a password.

The server listens on loopback by default.
"""

from __future__ import annotations

import errno
import re
import socket
import socketserver
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from dipstage.errors import InputError, WorkError, brief

if TYPE_CHECKING:
    from search.dashboard.mirror import Mirror
    from search.store.run import RunRecord

LOOPBACK = "127.0.0.1"
PORT = 8080
REFRESH_S = 2.0

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def is_loopback(host: str) -> bool:
    """Return whether a host, as in an option or a URL, can be reached from this machine alone."""
    return host in (LOOPBACK, "localhost", "::1", "[::1]")


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """The standard library's server with one thread per request, as in optuna-dashboard."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        """Bind to a host, which may be an IPv6 address, and a port."""
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which may take long."""
        socketserver.TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors such as a closed connection to a browser."""

    @property
    def url(self) -> str:
        """Address of the server for a browser."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.server_port}/"


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing for each request."""


@contextmanager
def dashboard(run: RunRecord, host: str, port: int | None) -> Iterator[Server]:
    """Create a bound server, which the caller starts, and refresh its copy of the study.

    Args:
        run: Run to show.
        host: Host to listen on.
        port: Port to listen on; None means 8080, or any free port if 8080 is taken.

    Raises:
        InputError: If optuna-dashboard is not installed, or the host or port is not available.
    """
    try:
        import optuna_dashboard
    except ImportError as error:
        raise InputError(
            f"dipsearch dashboard needs {error.name}: pip install 'dipsearch[dashboard]'"
        ) from None
    from search.dashboard.mirror import Mirror

    with _bound(host, port) as server:
        mirror = Mirror(run)
        app = optuna_dashboard.wsgi(mirror)
        server.set_app(read_only(app, local=is_loopback(host)))
        ended = threading.Event()
        follower = threading.Thread(target=_follow, args=(mirror, ended), daemon=True)
        follower.start()
        try:
            yield server
        finally:
            ended.set()


def _refuse_no_address(host: str) -> None:
    """Raise InputError for digits that are no address: they would be looked up as a name."""
    try:
        if re.fullmatch(r"[\d.]+", host):
            socket.inet_aton(host)
        elif ":" in host:
            socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        raise _no_address(host) from None


def _no_address(host: str) -> InputError:
    return InputError(f"--host {host} is no address of this machine: name one, such as {LOOPBACK}")


def _bound(host: str, port: int | None) -> Server:
    _refuse_no_address(host)
    for wanted in (PORT, 0) if port is None else (port,):
        try:
            return Server((host, wanted), _Handler)
        except (OSError, OverflowError, UnicodeError) as error:
            if isinstance(error, socket.gaierror | UnicodeError) or (
                getattr(error, "errno", None) == errno.EADDRNOTAVAIL
            ):
                raise _no_address(host) from None
            if port is not None or not wanted:
                raise InputError(
                    f"{host}:{wanted} cannot be listened on: {brief(error)}; choose another --port"
                ) from None
    raise AssertionError("the last port is tried or refused")


def read_only(app: App, *, local: bool) -> App:
    """Wrap an application so that requests that would write are rejected.

    Args:
        app: Application to wrap.
        local: Whether to reject requests for any host other than loopback. This prevents DNS
            rebinding, where a foreign page's host name resolves to this machine.
    """

    def guarded(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        host = str(environ.get("HTTP_HOST", "")).rsplit(":", 1)[0]
        if local and not is_loopback(host):
            return _refusal(start, "403 Forbidden", "this dashboard is for this machine alone")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            words = "this dashboard only shows the study: nothing can be changed here"
            return _refusal(start, "405 Method Not Allowed", words)
        return app(environ, start)

    return guarded


def _refusal(start: Callable[..., Any], status: str, reason: str) -> Iterable[bytes]:
    body = f'{{"reason": "{reason}"}}'.encode()
    start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _follow(mirror: Mirror, ended: threading.Event) -> None:
    """Refresh the copy every `REFRESH_S` seconds until `ended` is set.

    If the study cannot be read, its note says so and the next refresh tries again.
    """
    while not ended.wait(REFRESH_S):
        try:
            mirror.refresh()
        except (
            Exception
        ) as error:  # If this thread ended, the dashboard would show an old copy as new.
            # Messages of other errors may hold an address.
            known = isinstance(error, InputError | WorkError | OSError)
            mirror.fail(brief(error) if known else type(error).__name__)
