from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from llm_perf_opt.records.tools import Failure, NcuFacts, NsysFacts
from llm_perf_opt.tools.failures import Ending, find_message, judge_ncu, judge_nsys, workload_remark

RECORDED = Path(__file__).parent / "recorded"
DOCS = Path(__file__).parents[3] / "docs" / "nsight" / "failures.md"
EMPTY = NsysFacts(
    exporter_version=None,
    kernels=0,
    kernel_ns=0,
    runtime_calls=0,
    graph_launches=0,
    nvtx_events=0,
    nvtx_ranges=(),
    nvtx_ranges_left_out=0,
    processes=(),
    duration_ns=None,
    diagnostics=(),
)
GOOD = EMPTY.model_copy(update={"kernels": 3})
PROFILED = NcuFacts(results=1, kernels=("k",), processes=(), metrics=(), empty_metrics=())
TRIGGER = 'the NVTX range "decode"'


def recorded(name: str) -> str:
    """A recorded output without the lines that say where it is from."""
    lines = (RECORDED / f"{name}.txt").read_text().splitlines(keepends=True)
    assert lines[0].startswith("# ")
    return "".join(line for line in lines if not line.startswith("# "))


def ending(output: str = "", ok: bool = True, workload_ok: bool | None = None) -> Ending:
    return Ending(output, "exited with status 0" if ok else "exited with status 1", ok, workload_ok=workload_ok)


def code(failure: Failure | None) -> str | None:
    return failure.code if failure is not None else None


@pytest.mark.parametrize(
    ("name", "ok", "expected"),
    [
        ("nsys-no-reports", True, "trigger-never-matched"),
        ("nsys-importer-missing", True, "importer-missing"),
        ("nsys-illegal-argument", False, "option-refused"),
        ("nsys-range-end-alone", False, "option-refused"),
        ("nsys-trigger-never", True, "trigger-never-matched"),
    ],
)
def test_nsys_without_a_report(name: str, ok: bool, expected: str) -> None:
    failure = judge_nsys(ending(recorded(name), ok), trigger=TRIGGER, reports=[])
    assert code(failure) == expected


def test_the_range_that_was_waited_for_is_named() -> None:
    failure = judge_nsys(ending(recorded("nsys-no-reports")), trigger=TRIGGER, reports=[])
    assert failure is not None
    assert TRIGGER in failure.message
    assert "range@domain" in failure.remedy


def test_a_range_that_opened_is_not_blamed() -> None:
    output = recorded("nsys-capture-range")
    assert code(judge_nsys(ending(output), trigger=TRIGGER, reports=[])) == "no-report"
    assert judge_nsys(ending(output), trigger=TRIGGER, reports=["run.nsys-rep"], facts=[GOOD]) is None


def test_a_report_decides_whatever_the_exit_status_is() -> None:
    """stop-shutdown ends the workload with SIGTERM, and nsys passes that on."""
    killed = Ending("", "exited with status 143", False, workload_ok=False)
    assert judge_nsys(killed, trigger=TRIGGER, reports=["run.nsys-rep"], facts=[GOOD]) is None


def test_a_second_cupti_client_is_blamed_for_missing_kernels_only() -> None:
    complaint = "WARNING: CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED\n"
    none = judge_nsys(ending(complaint + recorded("nsys-no-reports")), trigger=TRIGGER, reports=[])
    assert code(none) == "trigger-never-matched"
    empty = judge_nsys(ending(complaint), trigger=None, reports=["run.nsys-rep"], facts=[EMPTY])
    assert code(empty) == "profiler-busy"
    assert judge_nsys(ending(complaint), trigger=None, reports=["run.nsys-rep"], facts=[GOOD]) is None


def test_nsys_reports_without_kernels() -> None:
    def judge(facts: NsysFacts, expects_kernels: bool = True) -> Failure | None:
        return judge_nsys(ending(), trigger=None, reports=["r"], facts=[facts], expects_kernels=expects_kernels)

    assert code(judge(EMPTY)) == "no-kernels"
    assert judge(EMPTY, expects_kernels=False) is None
    assert judge(EMPTY.model_copy(update={"graph_launches": 5})) is None
    assert judge(EMPTY.model_copy(update={"copies": 5})) is None
    # From the recorded export of nsys 2025.1.3 that holds no kernels.
    driver = "Installed CUDA driver version (13.3) is not supported by this build of Nsight Systems. CUDA trace will …"
    failure = judge(EMPTY.model_copy(update={"diagnostics": ("Not all CUDA events …", driver)}))
    assert failure is not None
    assert (failure.code, failure.exit_code) == ("driver-mismatch", 3)
    assert "13.3" in failure.message


def test_the_other_ends_of_nsys() -> None:
    late = Ending("", "was stopped at its time limit, after 60 s", False, timed_out=True)
    assert code(judge_nsys(late, trigger=None, reports=["run.nsys-rep"], facts=[GOOD])) == "timeout"
    assert code(judge_nsys(ending(ok=False), trigger=None, reports=[])) == "tool-failed"
    assert code(judge_nsys(ending(ok=False, workload_ok=False), trigger=TRIGGER, reports=[])) == "workload-crashed"
    assert code(judge_nsys(ending(), trigger=None, reports=["a", "b"], facts=[GOOD])) == "report-broken"
    assert code(judge_nsys(ending(), trigger=None, reports=[], streams=["run.qdstrm"])) == "importer-missing"
    fine = judge_nsys(ending("ERROR: agent died\n", ok=False, workload_ok=True), trigger=None, reports=[])
    assert fine is not None
    assert fine.code == "tool-failed"
    assert "the workload itself finished: ERROR: agent died" in fine.message
    # As nsys 2023.4 ends now and then.
    lost = (
        "Connection to Agent lost. This is most likely a bug. Internal reason: 'x'.\n"
        "Please refer to the troubleshooting section of the docs:\n"
        "https://docs.nvidia.com/nsight-systems/UserGuide/index.html#troubleshooting\n"
    )
    for how in (ending(lost, ok=False), ending(lost), ending(lost, ok=False, workload_ok=False)):
        failure = judge_nsys(how, trigger=None, reports=[])
        assert failure is not None
        assert failure.code == "tool-failed"
        assert "Connection to Agent lost" in failure.message
        assert "run it again" in failure.remedy


def test_a_workload_that_fails_is_said_beside_a_good_capture() -> None:
    passed_on = ending("Generated:\n    run.nsys-rep\n", ok=False)
    assert "the workload failed under nsys" in (workload_remark("nsys", passed_on) or "")
    assert workload_remark("nsys", passed_on, ended_by_tool=True) is None
    assert workload_remark("nsys", ending("Generated:\n")) is None
    # What ended before nsys did says nothing of the workload.
    assert workload_remark("nsys", ending("", ok=False)) is None
    assert "the workload failed under ncu" in (workload_remark("ncu", ending(recorded("ncu-application-error"))) or "")
    assert workload_remark("ncu", ending("", ok=False)) is None


def test_a_workload_that_fails_before_any_kernel() -> None:
    passed_on = ending("Generated:\n    run.nsys-rep\n", ok=False)
    assert code(judge_nsys(passed_on, trigger=None, reports=["r"], facts=[EMPTY])) == "workload-crashed"
    # At the end of a range nsys may have ended it itself.
    assert code(judge_nsys(passed_on, trigger=TRIGGER, reports=["r"], facts=[EMPTY])) == "no-kernels"


@pytest.mark.parametrize(
    ("name", "expected", "exit_code"),
    [
        ("ncu-counters-permission", "counters-permission", 3),
        ("ncu-driver-mismatch", "driver-mismatch", 3),
        ("ncu-profiler-busy", "profiler-busy", 1),
        ("ncu-application-error", "workload-crashed", 1),
        ("ncu-no-kernels-available", "filter-never-matched", 1),
        ("ncu-no-ranges", "filter-never-matched", 1),
        ("ncu-range-option", "range-replay-unsupported", 1),
        ("ncu-range-kernel-name", "range-replay-unsupported", 1),
        ("ncu-graph-profiling", "range-replay-unsupported", 1),
        ("ncu-option-twice", "option-refused", 1),
        ("ncu-section-unknown", "option-refused", 1),
        ("ncu-argument-invalid", "option-refused", 1),
        ("ncu-nvtx-include-invalid", "option-refused", 1),
    ],
)
def test_ncu_without_a_result(name: str, expected: str, exit_code: int) -> None:
    failure = judge_ncu(ending(recorded(name), ok=False), filters=["decode/"], reports=[], facts=None)
    assert failure is not None
    assert (failure.code, failure.exit_code) == (expected, exit_code)


def test_what_ncu_saw_instead_is_said() -> None:
    output = recorded("ncu-no-kernels-available")
    failure = judge_ncu(ending(output), filters=[], reports=[], facts=None, kernel_name="::wmma_cxx_kernel")
    assert failure is not None
    assert "::wmma_cxx_kernel" in failure.message
    assert "wmma_cxx_kernel, wmma_inline_ptx_stub" in failure.message


def test_an_ncu_result_decides() -> None:
    output = recorded("ncu-application-error")
    assert judge_ncu(ending(output, ok=False), filters=[], reports=["r"], facts=PROFILED) is None


def test_a_crash_is_not_blamed_on_ncu_when_the_workload_finished() -> None:
    output = recorded("ncu-application-error")
    failure = judge_ncu(ending(output, ok=False, workload_ok=True), filters=[], reports=[], facts=None)
    assert code(failure) == "no-kernels"


@pytest.mark.parametrize("text", ["write failed: No space left on device", "cp: No space\n left on device"])
def test_a_full_disk(text: str) -> None:
    assert code(find_message("nsys", text)) == "disk-full"
    assert code(find_message("ncu", text)) == "disk-full"


def test_ordinary_output_names_no_failure() -> None:
    assert find_message("nsys", recorded("nsys-capture-range")) is None
    assert find_message("ncu", '==PROF== Profiling "gemm" - 0: 0%....50%....100% - 9 passes\n') is None


def test_every_failure_has_its_section_in_the_docs() -> None:
    source = Path(find_message.__code__.co_filename).read_text()
    codes = set(re.findall(r'code="([a-z-]+)"', source)) | set(re.findall(r'_Pattern\(\s*"([a-z-]+)"', source))
    assert len(codes) >= 15
    headings = set(re.findall(r"^## ([a-z-]+)$", DOCS.read_text(), re.MULTILINE))
    assert codes == headings


def test_a_machine_without_a_driver_is_no_fault_of_the_workload() -> None:
    failure = judge_ncu(ending(recorded("ncu-no-driver"), False), filters=["decode/"], reports=[], facts=None)
    assert code(failure) == "driver-missing"
    assert failure is not None
    assert failure.exit_code == 3


def test_a_status_that_nsys_passes_on_is_the_workloads() -> None:
    failure = judge_nsys(ending("Generated:\n\tNo reports were generated\n", False), trigger=TRIGGER, reports=[])
    assert code(failure) == "workload-crashed"
    assert failure is not None
    assert "had not come by then" in failure.message


@pytest.mark.parametrize(
    "line",
    [
        "x" * 65_535,
        "option " * 70,
        "option " * 9_000,
        f"option{' ' * 900}",
        "option a is invali " * 50,
        "the --" + "x" * 400,
        "unsupported cuda not supported in range " * 20,
        "",
    ],
)
def test_a_program_that_floods_its_output_hides_no_message_and_costs_no_seconds(line: str) -> None:
    flood = f"{line}\n" * ((1 << 19) // (len(line) + 1))
    before = time.process_time()
    assert find_message("ncu", flood) is None
    # Half a second at most where it was written; a pattern with two gaps that find each other takes minutes.
    assert time.process_time() - before < 4
    assert code(find_message("ncu", f"==ERROR== No space left on device\n{flood}")) == "disk-full"
    assert code(find_message("ncu", f"{flood}==ERROR== Option --set is invalid.\n")) == "option-refused"
