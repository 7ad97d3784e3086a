"""One trace, served on the loopback address for ui.perfetto.dev: a page opened from a file cannot hand it over."""

from __future__ import annotations

import http.server
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from llm_perf_opt.errors import MissingError
from llm_perf_opt.opening import open_file

PORT = 9001
"""The one that Perfetto's own policy lets its page ask on the loopback address."""
VIEWER = "https://ui.perfetto.dev"


def address_of(trace: Path) -> str:
    """What to open in a browser."""
    return f"{VIEWER}/#!/?url=http://127.0.0.1:{PORT}/{quote(trace.name)}"


def serve_once(trace: Path, ready: Callable[[], None], port: int = PORT) -> None:
    """Serve `trace` to Perfetto until it was fetched whole; `ready` is called as soon as it can be.

    Raises:
        MissingError: the port is taken, or the trace cannot be read.
    """
    with open_file(trace):
        pass  # what cannot be read is said before a browser waits for it
    try:
        server = _Server(("127.0.0.1", port), _Handler)
    except OSError as error:
        raise MissingError(
            f"port {port} of this machine cannot be used: {error.strerror}",
            f"stop what listens there, or open {trace} in {VIEWER} by hand",
        ) from error
    with server:
        server.trace, server.timeout = trace, 0.2
        ready()
        while not server.fetched:
            server.handle_request()


class _Server(http.server.ThreadingHTTPServer):
    """A browser opens connections that it does not use: each has its thread."""

    daemon_threads = True
    trace: Path
    fetched = False


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_OPTIONS(self) -> None:
        self._answer(204, 0)

    def do_HEAD(self) -> None:
        self._answer(*self._found())

    def do_GET(self) -> None:
        code, length = self._found()
        self._answer(code, length)
        if code == 200:
            with open_file(self.server.trace) as file:
                shutil.copyfileobj(file, self.wfile)
            self.server.fetched = True

    def _found(self) -> tuple[int, int]:
        """Only that file, and only under this machine's own name: another site's name may be made to point here."""
        trace, port = self.server.trace, self.server.server_port
        wanted = self.path.partition("?")[0] == f"/{quote(trace.name)}"
        if not wanted or self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            return 404, 0
        return 200, trace.stat().st_size

    def _answer(self, code: int, length: int) -> None:
        self.send_response(code)
        self.send_header("Access-Control-Allow-Origin", VIEWER)
        self.send_header("Access-Control-Allow-Private-Network", "true")
        self.send_header("Content-Length", str(length))
        if code == 200:
            self.send_header("Content-Type", "application/octet-stream")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests are no results."""
