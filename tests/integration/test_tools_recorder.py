"""The NVTX recorder sees what the nvtx package sends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.standins import recorder
from tests.standins.recorder import Event

pytestmark = pytest.mark.integration

SCRIPT = """
import threading, nvtx

domain = nvtx.get_domain()
attributes = domain.get_event_attributes(message="decode")
domain.push_range(attributes)
domain.pop_range()
with nvtx.annotate("outer"):
    with nvtx.annotate("inner", domain="mine"):
        nvtx.mark("here")
handle = nvtx.start_range("started")
nvtx.end_range(handle)

def work():
    with nvtx.annotate('quote " \\\\ and \\n'):
        pass

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.fixture
def events(nvtx_recorder: Path, tmp_path: Path) -> list[Event]:
    log = tmp_path / "events.jsonl"
    subprocess.run([sys.executable, "-c", SCRIPT], env=recorder.environment(nvtx_recorder, log), check=True)
    return recorder.read(log)


def test_what_the_nvtx_package_sends(events: list[Event]) -> None:
    main = events[0].pid
    sent = [
        (event.event, event.domain, event.name) for event in events if event.tid == main and event.event != "domain"
    ]
    assert sent == [
        ("push", None, "decode"),
        ("pop", None, None),
        ("push", None, "outer"),
        ("push", "mine", "inner"),
        ("mark", None, "here"),
        ("pop", "mine", None),
        ("pop", None, None),
        ("start", None, "started"),
        ("end", None, None),
    ]


def test_strings_are_registered(events: list[Event]) -> None:
    named = [event for event in events if event.event in ("push", "start")]
    assert named
    assert all(event.registered for event in named)


def test_threads_ids_times_and_escapes(events: list[Event]) -> None:
    other = [event for event in events if event.tid != event.pid]
    assert [event.name for event in other if event.event == "push"] == ['quote " \\ and \n']
    started, ended = (event for event in events if event.event in ("start", "end"))
    assert started.id == ended.id > 0
    assert [event.ns for event in events] == sorted(event.ns for event in events)
