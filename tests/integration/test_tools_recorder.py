"""The NVTX recorder sees what the nvtx package sends, and what llmperf sends where the package sends nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_perf_opt.workload.senders import PROBE_RANGE
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


SENDING = """
import json, sys
{before}
from llm_perf_opt.workload.ranges import Range
from llm_perf_opt.workload.senders import sender

with Range("decode"):
    with Range("A::A1"):
        pass
chosen = sender()
print(json.dumps([chosen.name, chosen.reason, chosen.sent]))
"""
# As if the package had changed inside.
CHANGED = "import nvtx._lib.lib as lib; del lib.DomainHandle"
# As a build without CUDA has it.
NO_CUDA = "import torch; del torch._C._nvtx"
NESTED = [("push", "decode"), ("push", "A::A1"), ("pop", None), ("pop", None)]


def sending(library: Path, log: Path, fault: str, before: str = "") -> tuple[Any, list[Event]]:
    """What a process says of its sender under a recorder at fault, and the ranges that arrived."""
    env = {**recorder.environment(library, log), "NVTX_RECORDER_FAULT": fault}
    script = SENDING.format(before=before)
    finished = subprocess.run([sys.executable, "-c", script], env=env, check=True, capture_output=True, text=True)
    events = [event for event in recorder.read(log) if event.event in ("push", "pop")]
    probes = {event.pid for event in events if event.name == PROBE_RANGE}
    return json.loads(finished.stdout), [event for event in events if event.pid not in probes]


@pytest.mark.parametrize(
    ("fault", "before", "name"),
    [
        ("", "", "nvtx"),
        ("no-extensions", "", "nvtx-direct"),
        ("no-extensions", NO_CUDA, "nvtx-direct"),
        ("no-extensions", CHANGED, "torch"),
    ],
    ids=["package", "direct", "direct without CUDA", "torch"],
)
def test_ranges_reach_every_tool(nvtx_recorder: Path, tmp_path: Path, fault: str, before: str, name: str) -> None:
    if "torch" in (name, before.removeprefix("import ").split(";")[0]) and not hasattr(torch._C, "_nvtx"):
        pytest.skip("this build of torch has no NVTX")
    (found, reason, sent), events = sending(nvtx_recorder, tmp_path / "log", fault, before)
    assert (found, sent) == (name, {"decode": 1, "A::A1": 1})
    assert (reason is None) == (name == "nvtx")
    assert [(event.event, event.name) for event in events] == NESTED
    assert {event.registered for event in events if event.event == "push"} == {name != "torch"}
    assert {event.domain for event in events} == {None}


@pytest.mark.parametrize(
    ("fault", "before", "words"),
    [
        ("crash", "", "was ended by SIGSEGV"),
        ("crash-push", "", "was ended by SIGSEGV"),
        ("hang", "import llm_perf_opt.workload.senders as senders; senders.PROBE_LIMIT_S = 0.5", "hung for 0.5 s"),
        ("no-extensions", f"{CHANGED}; {NO_CUDA}", "this build of torch has no NVTX"),
        ("", "import os; os.environ['NVTX_DISABLE'] = '1'", "NVTX_DISABLE is set"),
    ],
    ids=["crash", "crash at the first range", "hang", "no way", "disabled"],
)
def test_where_no_range_can_be_sent_the_process_lives_and_says_why(
    nvtx_recorder: Path, tmp_path: Path, fault: str, before: str, words: str
) -> None:
    if "torch" in before and not hasattr(torch._C, "_nvtx"):
        before = CHANGED
    (found, reason, sent), events = sending(nvtx_recorder, tmp_path / "log", fault, before)
    assert (found, sent, events) == (None, None, [])
    assert words in reason
