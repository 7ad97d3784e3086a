"""The trace for Perfetto: one file, to one site, under this machine's own name, once."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path

import pytest

from llm_perf_opt.artifacts.run_directory import RunDirectory
from llm_perf_opt.cli.report import _trace_of
from llm_perf_opt.cli.trace_server import address_of, serve_once
from llm_perf_opt.errors import LlmperfError, MissingError


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


@pytest.mark.parametrize(
    ("left", "rank", "expected"),
    [
        (("",), None, ""),
        (("launch-00",), None, "launch-00"),
        (("rank-2", "rank-10"), None, "rank-2"),
        (("rank-2", "rank-10"), 10, "rank-10"),
        (("launch-00/rank-0", "launch-01/rank-0"), 0, "launch-00/rank-0"),
        (("rank-2", "rank-10"), 3, "name one of ranks 2, 10"),
        (("",), 0, "leave --rank out"),
        ((), None, "import a trace"),
        ((), 0, "import a trace"),
    ],
)
def test_whose_trace_is_served(tmp_path: Path, left: tuple[str, ...], rank: int | None, expected: str) -> None:
    run = RunDirectory.create(tmp_path / "run", argv=["llmperf"], stages=["static_analysis", "torch_profiler"]).path
    for folder in left:
        place = run / "torch_profiler" / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "trace.json.gz").write_bytes(b"")
    if expected.startswith(("name", "leave", "import")):
        with pytest.raises(MissingError) as caught:
            _trace_of(run, rank)
        assert expected in caught.value.remedy
    else:
        assert _trace_of(run, rank) == run / "torch_profiler" / expected / "trace.json.gz"
