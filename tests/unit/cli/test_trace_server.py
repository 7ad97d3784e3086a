"""The trace for Perfetto: one file, to one site, under this machine's own name, once."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

import pytest

from llm_perf_opt.cli.trace_server import address_of, serve_once
from llm_perf_opt.errors import LlmperfError


def test_it_is_served_until_it_was_fetched(tmp_path: Path) -> None:
    trace = tmp_path / "trace.json.gz"
    trace.write_bytes(b"events")
    ready = threading.Event()
    port = 0
    with pytest.MonkeyPatch.context() as patch:
        import socketserver

        bind = socketserver.TCPServer.server_bind

        def bound(server: socketserver.TCPServer) -> None:
            nonlocal port
            bind(server)
            port = server.server_address[1]

        patch.setattr(socketserver.TCPServer, "server_bind", bound)
        serving = threading.Thread(target=serve_once, args=(trace, ready.set, 0))
        serving.start()
        assert ready.wait(10)

    def get(path: str, **headers: str) -> tuple[int, str | None, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Access-Control-Allow-Origin"), answer.read()

    perfetto = "https://ui.perfetto.dev"
    assert get("/trace.json.gz", Host="evil.example") == (404, perfetto, b"")
    assert get("/../run.json") == (404, perfetto, b"")
    assert get("/trace.json.gz") == (200, perfetto, b"events")
    serving.join(10)
    assert not serving.is_alive()
    assert address_of(trace).endswith("http://127.0.0.1:9001/trace.json.gz")


def test_a_taken_port_has_a_remedy(tmp_path: Path) -> None:
    import socket

    trace = tmp_path / "trace.json.gz"
    trace.write_bytes(b"events")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(LlmperfError, match="cannot be used"):
            serve_once(trace, lambda: None, taken.getsockname()[1])
