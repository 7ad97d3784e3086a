"""Every command that takes a path × every kind of thing that may lie there, and every kind of name: refused at once."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_perf_opt.cli.main import main
from llm_perf_opt.opening import open_file, read_stream

LIMIT_S = 20
"""Of one command, on any machine; what never ends would take this long."""
KINDS = ("pipe", "device", "socket", "folder")
INFER = "infer --dry-run"
MODEL = f"{INFER} model.name=causal_lm dataset.prompt=x"
COMMANDS = [
    "run {}.yaml --dry-run",
    "run --config-dir presets_{} dataset=mine --dry-run",
    "config validate {}.yaml",
    "config show {}.yaml",
    "config migrate {}.yaml",
    f"{MODEL} model.path={{}}",
    f"{MODEL} model.path={{}}.gguf",
    f"{MODEL} model.path=model_{{}}",
    f"{MODEL} model.path=tokenizer_{{}}",
    f"{INFER} dataset.root=data_{{}}",
    f"{INFER} dataset.root=pages dataset.subset_filelist={{}}",
    f"{INFER} dataset.root=pages dataset.subset_filelist=list_{{}}.txt",
    "static {}",
    "static {}.gguf",
    "static model_{}",
    "import {}",
    "import {}.ncu-rep",
    "kernels top {}",
    "kernels top {}.sqlite",
    "kernels top run_{}",
    "kernels analyze {}.csv",
    "kernels analyze {}.ncu-rep",
    "kernels analyze run_{}",
    "kernels profile {}.yaml -- true",
    "report {}",
    "report run_{}",
    "compare {0} {0}",
    "compare run_{0} run_{0}",
    "run --resume run_{}",
]
NAMES = {
    "no UTF-8": "a\udcff",
    "too long": "n" * 5000,
    "too long a part": f"x/{'n' * 300}/y",
    "too deep": "d/" * 3000,
    "zero byte": "a\0b",
    "two lines": "a\nb",
}


class TooLong(BaseException):
    """A command did not end."""


@pytest.fixture(autouse=True)
def limit() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refused(command: list[str]) -> tuple[int, str]:
    """Exit code and what was said, of a command that must end at once with words of its own."""
    signal.alarm(LIMIT_S)
    # Standard error of a process spells out what it cannot encode.
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    with pytest.raises(SystemExit) as ended, contextlib.redirect_stderr(shown):
        main(command)
    signal.alarm(0)
    shown.seek(0)
    said = shown.read()
    assert ended.value.code in (1, 2, 3), (command, said)
    assert "error: " in said, command
    for defect in ("Traceback", "Errno", "--debug", "a defect"):
        assert defect not in said, (command, said)
    code = ended.value.code
    assert isinstance(code, int)
    return code, said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which each kind lies everywhere a file is looked for."""
    folder = tmp_path_factory.mktemp("p")
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/zero")
    (folder / "folder").mkdir()
    (folder / "pages").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path is short
        listening.bind("socket")
        os.chdir(here)
        for kind in KINDS:
            target = folder / kind
            for ending in ("yaml", "gguf", "csv", "sqlite", "ncu-rep"):
                (folder / f"{kind}.{ending}").symlink_to(target)
            for name, file in [
                ("presets", "dataset/mine.yaml"),
                ("model", "config.json"),
                ("data", "a.png"),
                ("run", "run.json"),
                ("tokenizer", "tokenizer.json"),
            ]:
                path = folder / f"{name}_{kind}" / file
                path.parent.mkdir(parents=True)
                path.symlink_to(target)
            (folder / f"tokenizer_{kind}" / "config.json").write_text('{"model_type": "llama"}')
            (folder / f"list_{kind}.txt").write_text(f"../{kind}\n")
        yield folder


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused_at_once(kind: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for command in COMMANDS:
        words = command.format(kind).split()
        if kind == "folder" and "tokenizer_" in command:
            continue  # transformers passes it over
        refused(words)


@pytest.mark.parametrize("name", list(NAMES))
def test_a_name_that_no_file_can_have_is_refused(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for command in COMMANDS:
        code, said = refused([word.format(NAMES[name]) for word in command.split()])
        if "kernels analyze" not in command:
            assert code in (2, 3), (command, said)
    if name == "no UTF-8":
        for command in ("run experiment={} --dry-run", "run --output {}", "nsys -- true {}"):
            code, said = refused([word.format(NAMES[name]) for word in command.split()])
            assert code == 2
            assert "not UTF-8" in said


def test_a_pipe_that_somebody_writes_is_read(tmp_path: Path) -> None:
    """`llmperf run <(make-config)`."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="nobody writes"):
        read_stream(path, 100)
    held = os.open(path, os.O_RDWR)  # somebody who writes
    late = threading.Timer(0.1, lambda: os.fdopen(held, "wb").write(b"b: 2"))
    late.start()
    assert read_stream(path, 100) == b"b: 2"
    late.join()


def test_a_link_is_followed_and_reading_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    with open_file(tmp_path / "b") as file:
        assert file.read() == b"12345"
    assert read_stream(tmp_path / "b", 3) == b"123"


@pytest.mark.parametrize(
    "command",
    [
        *(command for command in COMMANDS if "{}" in command.split() or "{0}" in command.split()),
        *("run {}", "infer {}", "sweep {}", "ab {}", "trend {}", "runs {}", "trend . {}", "config init {}"),
        *(f"{command} --output {{}}" for command in ("run", "import x", "compare . .", "report x", "trend .", "ab x")),
        *("run --config-dir {}", "sweep measure.repeats=1 --output {}", "kernels top x -o {}", "static x --output {}"),
        *("run --resume {}", "run --output=", "kernels analyze x --output {}", "kernels profile x --output {} -- true"),
    ],
)
def test_an_empty_path_is_not_this_folder(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = refused(["" if word in ("{}", "{0}") else word for word in command.split()])
    assert (code, "is empty" in said) == (2, True)
    assert not list(tmp_path.iterdir())
