from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.tools import Tool
from llm_perf_opt.tools import discovery
from llm_perf_opt.tools.discovery import candidates, newest, read_version, version_problem


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def tool(version: str, path: str = "/x") -> Tool:
    return Tool(name="nsys", path=path, version=version, source="PATH")


@pytest.mark.parametrize(
    ("output", "version"),
    [
        # https://docs.nvidia.com/nsight-systems (nsys --version) and vllm-project/vllm issues 3247 and 13482
        ("NVIDIA Nsight Systems version 2023.4.1.97-234133557503v0\n", "2023.4.1.97"),
        ("NVIDIA Nsight Systems version 2025.1.1.103-251135427971v0\n", "2025.1.1.103"),
        ("NVIDIA (R) Nsight Compute Command Line Profiler\nCopyright (c) 2018-2025 NVIDIA Corporation\n"
         "Version 2025.3.1.0 (build 36398880) (public-release)\n", "2025.3.1.0"),
        ("sh: exec: not found\n", ""),
    ],
)  # fmt: skip
def test_versions_are_read(output: str, version: str) -> None:
    assert read_version(output) == version


def test_the_newest_wins_and_of_equals_the_first() -> None:
    assert newest([]) is None
    assert newest([tool("2024.6"), tool("2025.10.1"), tool("2025.9")]) == tool("2025.10.1")
    assert newest([tool("2025.1", "/first"), tool("2025.1", "/second")]) == tool("2025.1", "/first")
    assert newest([tool(""), tool("2021.1")]) == tool("2021.1")


def test_where_tools_are_looked_for(tmp_path: Path) -> None:
    on_path = program(tmp_path / "bin" / "nsys")
    installed = [
        program(tmp_path / "opt/nvidia/nsight-systems/2025.3.2/bin/nsys"),
        program(tmp_path / "opt/nvidia/nsight-systems-cli/2026.1.1/target-linux-x64/nsys"),
        program(tmp_path / "usr/local/cuda-12.8/bin/nsys"),
    ]
    (tmp_path / "usr/local/cuda").symlink_to("cuda-12.8")
    (tmp_path / "usr/local/cuda-11/bin").mkdir(parents=True)
    (tmp_path / "usr/local/cuda-11/bin/nsys").write_text("not executable")
    environ = {"PATH": os.pathsep.join(["/nowhere", "", str(on_path.parent)])}
    found = list(candidates("nsys", environ, tmp_path))
    assert found[0] == (on_path, "PATH")
    assert {path.resolve() for path, _ in found[1:]} == set(installed)
    assert len(found) == 4
    assert all(source == str(path.parent) for path, source in found[1:])


def test_a_variable_decides_alone_and_must_name_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def probe(_name: object, path: Path, source: str, _environ: object) -> Tool | None:
        asked.append(path)
        return Tool(name="ncu", path=str(path), version="2025.1", source=source) if path.name == "good" else None

    monkeypatch.setattr(discovery, "probe", probe)
    program(tmp_path / "bin" / "ncu")
    environ = {"LLMPERF_NCU": "/some/good", "PATH": str(tmp_path / "bin")}
    found = discovery.find_tool("ncu", environ, tmp_path)
    assert found is not None
    assert (found.path, found.source) == ("/some/good", "LLMPERF_NCU")
    assert asked == [Path("/some/good")]
    with pytest.raises(MissingError, match="LLMPERF_NCU is /bad"):
        discovery.find_tool("ncu", {"LLMPERF_NCU": "/bad"}, tmp_path)
    assert discovery.find_tool("ncu", {"PATH": "/nowhere"}, tmp_path) is None


def test_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version_problem(tool("2025.1")) is None
    assert version_problem(tool("")) is None  # unknown: let it try
    problem = version_problem(tool("2020.5.1"))
    assert problem is not None
    assert "older than 2021.4" in problem
    monkeypatch.setattr(discovery, "find_tool", lambda _name: tool("2020.5.1"))
    with pytest.raises(MissingError, match="older than") as caught:
        discovery.require_tool("nsys")
    assert "LLMPERF_NSYS" in caught.value.remedy
    monkeypatch.setattr(discovery, "find_tool", lambda _name: None)
    with pytest.raises(MissingError, match="was found neither"):
        discovery.require_tool("nsys")
