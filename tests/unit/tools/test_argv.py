from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.stages.ncu import argv as ncu_argv
from llm_perf_opt.stages.ncu.settings import Ncu, NcuCli
from llm_perf_opt.stages.nsys import argv as nsys_argv
from llm_perf_opt.stages.nsys.settings import Nsys
from llm_perf_opt.tools import ncu as ncu_tool
from llm_perf_opt.tools import nsys as nsys_tool
from llm_perf_opt.tools.command import command_text, profiled_environment
from llm_perf_opt.tools.nvtx import translate_nvtx_include
from llm_perf_opt.tools.options import check, parse_version

OUT = Path("/run/nsys")
CHILD = ["python", "-m", "llm_perf_opt.workload", "order.json"]


def ncu(*, gating: bool = True, **cli: Any) -> Ncu:
    """Settings with the replay mode that a workload of ours gets."""
    return ncu_argv.choose_replay(Ncu(gating_nvtx=gating, ncu_cli=NcuCli.model_validate(cli)), own=True)[0]


def test_nsys_defaults() -> None:
    assert nsys_argv.profile_argv("nsys", Nsys(), OUT, CHILD) == [
        "nsys",
        "profile",
        "--trace=cuda,nvtx,osrt",
        "--sample=none",
        "-o",
        "/run/nsys/run",
        "--force-overwrite=true",
        *CHILD,
    ]


def test_a_release_that_can_keeps_no_environment() -> None:
    for version, sent in ((None, False), ((2026, 1, 1), False), ((2026, 2, 1), True)):
        argv = nsys_argv.profile_argv("nsys", Nsys(), OUT, CHILD, version)
        assert ("--discard-environment=true" in argv) == sent
        assert check("nsys", "profile", argv[2:], version) == []
    assert any("do not pass that file on" in note for note in nsys_argv.notes(Nsys(), (2025, 5)))
    assert nsys_argv.notes(Nsys(), (2026, 2)) == []


def test_nsys_with_everything() -> None:
    settings = Nsys(
        trace="cuda,nvtx",
        sample="process-tree",
        capture_range="nvtx",
        nvtx_capture="decode@*",
        capture_range_end="repeat:3:sync",
        cuda_graph_trace="node",
        extra_args=("--cuda-memory-usage=true", "--kill=none"),
    )
    assert nsys_argv.profile_argv(Path("/opt/nsys"), settings, OUT, CHILD) == [
        "/opt/nsys",
        "profile",
        "--trace=cuda,nvtx",
        "--sample=process-tree",
        "--capture-range=nvtx",
        "--nvtx-capture=decode@*",
        "--env-var=NSYS_NVTX_PROFILER_REGISTER_ONLY=0",
        "--capture-range-end=repeat:3:sync",
        "--cuda-graph-trace=node",
        "-o",
        "/run/nsys/run",
        "--force-overwrite=true",
        "--cuda-memory-usage=true",
        "--kill=none",
        *CHILD,
    ]


@pytest.mark.parametrize(
    ("gating", "capture_range", "end", "expected"),
    [
        (True, "none", None, []),
        (True, "none", "stop", []),
        (True, "nvtx", None, ["--capture-range=nvtx", "--nvtx-capture=decode", "--env-var=…"]),
        (
            True,
            "nvtx",
            "stop",
            ["--capture-range=nvtx", "--nvtx-capture=decode", "--env-var=…", "--capture-range-end=stop"],
        ),
        (False, "nvtx", "stop", []),
        (True, "cudaProfilerApi", "stop", ["--capture-range=cudaProfilerApi", "--capture-range-end=stop"]),
        (False, "cudaProfilerApi", "stop", ["--capture-range=cudaProfilerApi", "--capture-range-end=stop"]),
        (True, "hotkey", None, ["--capture-range=hotkey"]),
    ],
)
def test_nsys_gating(gating: bool, capture_range: Any, end: str | None, expected: list[str]) -> None:
    settings = Nsys(gating_nvtx=gating, capture_range=capture_range, nvtx_capture="decode", capture_range_end=end)
    options = nsys_argv.profile_options(settings)[2:]
    assert options == [word.replace("…", nsys_argv.REGISTERED_ONLY_OFF) for word in expected]


def test_nsys_reports_in_the_order_of_their_ranges(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        (tmp_path / f"run.{number}.nsys-rep").touch()
    (tmp_path / "other.nsys-rep").touch()
    (tmp_path / "run.3.qdstrm").touch()
    assert [path.name for path in nsys_tool.reports(tmp_path)] == [f"run.{n}.nsys-rep" for n in (1, 2, 10)]
    assert [path.name for path in nsys_tool.raw_streams(tmp_path)] == ["run.3.qdstrm"]


def test_nsys_export() -> None:
    assert nsys_tool.export_argv("nsys", OUT / "run.1.nsys-rep") == [
        *("nsys", "export", "--type", "sqlite", "--force-overwrite=true"),
        *("-o", "/run/nsys/run.1.sqlite", "/run/nsys/run.1.nsys-rep"),
    ]


def test_ncu_defaults() -> None:
    settings = ncu()
    options = ncu_argv.profile_options(settings)
    assert ncu_argv.profile_argv("ncu", settings, options, Path("/run/ncu"), CHILD) == [
        *("ncu", "--target-processes", "all", "--replay-mode", "kernel", "--set", "roofline"),
        *("--kernel-name-base", "demangled", "-o", "/run/ncu/report", "--force-overwrite"),
        *CHILD,
    ]


def test_ncu_with_everything() -> None:
    settings = ncu(
        target_processes="application-only",
        replay_mode="app-range",
        nvtx={"include": "prefill; decode*"},
        set=None,
        sections=["SpeedOfLight", "Occupancy"],
        metrics=["gpu__time_duration.sum", "dram__bytes_read.sum"],
        kernel_name="regex:gemm",
        kernel_name_base="function",
        launch_skip=50,
        launch_count=2,
        force_overwrite=False,
        extra_args=["--clock-control", "none"],
    )
    options = ncu_argv.profile_options(settings)
    assert ncu_argv.profile_argv("ncu", settings, options, Path("/run/ncu"), CHILD) == [
        *("ncu", "--target-processes", "application-only", "--replay-mode", "app-range"),
        *("--nvtx", "--nvtx-include", "prefill/", "--nvtx-include", "regex:decode.*/"),
        *("--section", "SpeedOfLight", "--section", "Occupancy"),
        *("--metrics", "gpu__time_duration.sum,dram__bytes_read.sum"),
        *("--kernel-name", "regex:gemm", "--kernel-name-base", "function"),
        *("--launch-skip", "50", "--launch-count", "2"),
        *("-o", "/run/ncu/report", "--clock-control", "none"),
        *CHILD,
    ]


def test_ncu_without_gating_or_include_sends_no_nvtx_flag() -> None:
    for settings in (ncu(gating=False, nvtx={"include": "decode"}), ncu()):
        assert not [word for word in ncu_argv.profile_options(settings) if "nvtx" in word]


def test_ncu_overrides_fill_only_what_is_open() -> None:
    options = ncu_argv.profile_options(
        ncu(launch_count=5, metrics=["a", "b"], sections=["X"]),
        metrics=["a"],
        sections=[],
        include=translate_nvtx_include("sam"),
        launch_skip=7,
        launch_count=9,
        from_start=False,
    )
    text = " ".join(options)
    assert "--metrics a --kernel" in text
    assert "--section" not in options
    assert "--nvtx --nvtx-include sam/" in text
    assert "--profile-from-start off" in text
    assert "--launch-skip 7 --launch-count 5" in text
    assert "--profile-from-start" not in ncu_argv.profile_options(ncu(replay_mode="range"), from_start=False)


def test_ncu_import_and_lists() -> None:
    report = Path("/run/ncu/report.ncu-rep")
    assert ncu_tool.raw_csv_argv("ncu", report) == ["ncu", "--import", str(report), "--csv", "--page", "raw"]
    for argv in (
        ncu_tool.raw_csv_argv("ncu", report),
        ncu_tool.details_argv("ncu", report),
        ncu_tool.query_metrics_argv("ncu"),
        ncu_tool.list_sections_argv("ncu"),
    ):
        assert check("ncu", "", argv[1:]) == []


@pytest.mark.parametrize("version", [None, "2025.3.1"])
def test_every_nsys_command_line_is_documented(version: str | None) -> None:
    wanted = parse_version(version) if version else None
    ends = (None, "none", "stop", "stop-shutdown", "repeat", "repeat:2", "repeat-shutdown:2")
    for sample, capture, end, graphs in itertools.product(
        ("none", "process-tree", "system-wide"),
        ("none", "nvtx", "cudaProfilerApi", "hotkey"),
        ends,
        (None, "graph", "node"),
    ):
        settings = Nsys.model_validate(
            {
                "sample": sample,
                "capture_range": capture,
                "nvtx_capture": "decode",
                "capture_range_end": end,
                "cuda_graph_trace": graphs,
            }
        )
        argv = nsys_argv.profile_argv("nsys", settings, OUT, CHILD)
        assert check("nsys", "profile", argv[2:], wanted) == []
    assert check("nsys", "export", nsys_tool.export_argv("nsys", OUT / "run.nsys-rep")[2:], wanted) == []


def test_every_ncu_command_line_is_documented() -> None:
    for mode, base, processes in itertools.product(
        ("kernel", "application", "range", "app-range"),
        ("demangled", "function", "mangled"),
        ("all", "application-only"),
    ):
        settings = ncu(
            replay_mode=mode, kernel_name_base=base, target_processes=processes, nvtx={"include": "a;b"}, launch_count=1
        )
        options = ncu_argv.profile_options(settings, launch_skip=3, from_start=False)
        argv = ncu_argv.profile_argv("ncu", settings, options, OUT, CHILD)
        assert check("ncu", "", argv[1:]) == []


def test_options_are_checked_against_the_version() -> None:
    old, new = (2024, 6, 1), (2026, 2, 1)
    assert check("nsys", "profile", ["--cuda-event-trace=false"], new) == []
    assert "documented from 2026.1" in check("nsys", "profile", ["--cuda-event-trace=false"], old)[0]
    assert "only up to 2024.6" in check("nsys", "profile", ["--gpu-video-device=all"], new)[0]
    assert check("nsys", "profile", ["--capture-range-end=repeat:2:sync"], new) == []
    assert "does not document" in check("nsys", "profile", ["--capture-range-end=repeat:2:sync"], old)[0]
    assert "does not document" in check("nsys", "profile", ["--sample=cpu"])[0]
    assert "not an option" in check("nsys", "profile", ["--nope", "x"])[0]
    assert "needs a value" in check("ncu", "", ["--launch-count"])[0]
    assert "takes no value" in check("ncu", "", ["--csv=1"])[0]
    assert check("ncu", "", ["-c", "3", "-k", "regex:x", "-f", "app", "--nope"]) == []


def test_notes() -> None:
    def nsys_notes(**settings: Any) -> str:
        return "\n".join(nsys_argv.notes(Nsys(**settings)))

    assert nsys_notes() == ""
    assert "whole run" in nsys_notes(capture_range="nvtx", nvtx_capture="d", gating_nvtx=False)
    assert "SIGTERM" in nsys_notes(capture_range="cudaProfilerApi")
    assert "left out" in nsys_notes(capture_range_end="stop")
    assert "extra_args: --nope" in nsys_notes(extra_args=("--nope",))
    assert "graphics" in nsys_notes(capture_range="hotkey")

    def ncu_notes(**cli: Any) -> str:
        return "\n".join(ncu_argv.notes(ncu(**cli)))

    assert ncu_notes() == ""
    assert "decode* is sent as regex:decode.*/" in ncu_notes(nvtx={"include": "decode*"})
    assert "refuses --profile-from-start" in ncu_notes(
        replay_mode="range", nvtx={"include": "a"}, extra_args=["--profile-from-start", "off"]
    )


def test_expected_files() -> None:
    assert nsys_argv.expected_files(Nsys()) == ["run.nsys-rep", "run.sqlite"]
    repeated = Nsys(capture_range="cudaProfilerApi", capture_range_end="repeat:2")
    assert nsys_argv.expected_files(repeated)[0].startswith("run.1.nsys-rep")


def test_cmd_txt_can_be_pasted_and_hides_secrets() -> None:
    text = command_text(
        ["nsys", "profile", "--api-key=abcdef", "two words"],
        cwd=Path("/a b"),
        changed={"X": "1 2", "MY_TOKEN": "abcdef"},
        dropped=["HF_TOKEN"],
    )
    settings = "MY_TOKEN='***' X='1 2'"
    assert text == f"cd '/a b'\nenv -u HF_TOKEN {settings} nsys profile '--api-key=***' 'two words'\n"
    assert command_text(["true"], cwd=Path("/"), changed={}) == "cd /\ntrue\n"


def test_secrets_do_not_reach_a_profiled_program() -> None:
    environ = {"PATH": "/bin", "HF_TOKEN": "hf_x", "WANDB_API_KEY": "k", "EMPTY_SECRET": "", "MAX_TOKENS": "3"}
    environ["PWD"] = "/here"
    kept, dropped = profiled_environment(environ)
    assert kept == {"PATH": "/bin", "EMPTY_SECRET": "", "MAX_TOKENS": "3", "PWD": "/here"}
    assert dropped == ("HF_TOKEN", "WANDB_API_KEY")
