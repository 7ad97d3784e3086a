"""Each check on recorded files and answers; what is required; how it reads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.hardware.doctor import checks
from llm_perf_opt.hardware.doctor.dcgm import check_dcgm
from llm_perf_opt.hardware.doctor.disk import check_disk
from llm_perf_opt.hardware.doctor.finding import Answer, Finding, Surroundings, Tool
from llm_perf_opt.hardware.doctor.gpu import check_gpu
from llm_perf_opt.hardware.doctor.permissions import check_permissions
from llm_perf_opt.hardware.doctor.python import check_nvtx, check_python, check_uv
from llm_perf_opt.hardware.doctor.tools import check_tools
from llm_perf_opt.hardware.doctor.torch import check_torch
from llm_perf_opt.hardware.nvml import Nvml, NvmlUnavailable
from llm_perf_opt.records.hardware import DetectedGpu, GpuInventory

NO_DRIVER = GpuInventory(none_because="no NVIDIA driver is installed (libnvidia-ml.so.1 was not found)")
NO_PACKAGE = GpuInventory(none_because="the Python package nvidia-ml-py is not installed")
H100 = DetectedGpu(
    index=0,
    name="NVIDIA H100 80GB HBM3",
    uuid="GPU-1",
    memory_total_bytes=85_520_809_984,
    compute_capability="9.0",
    mig_enabled=False,
    catalogue_id="h100-sxm5",
    catalogue_reason=None,
)
ONE_H100 = GpuInventory(gpus=(H100,), driver_version="580.82.07", cuda_driver_version="13.0")

# Recorded with driver 580 and kernel 6.8, shortened.
PARAMS = "ResmanDebugLevel: 4294967295\nRmLogonRC: 1\nRmProfilingAdminOnly: {}\nTCEBypassMode: 0\n"
USER_STATUS = "Name:\tpython\nCapInh:\t0000000000000000\nCapEff:\t0000000000000000\n"
ROOT_STATUS = "Name:\tpython\nCapInh:\t0000000000000000\nCapEff:\t000001ffffffffff\n"
CONTAINER_ROOT_STATUS = "Name:\tpython\nCapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\n"


@dataclass(frozen=True)
class Found:
    name: str
    path: str
    version: str
    source: str


def surroundings(
    root: Path = Path("/nowhere"),
    *,
    find_tool: Callable[[str], Tool | None] = lambda name: None,
    answer: Answer | None = None,
    gpus: GpuInventory = NO_DRIVER,
    free_bytes: int = 10**12,
    environment: dict[str, str] | None = None,
) -> Surroundings:
    def ask(argv: Sequence[str], timeout_s: float) -> Answer:
        return answer or Answer(0, "uv 0.9.1 (2026-01-01)\n", "")

    return Surroundings(
        find_tool=find_tool,
        root=root,
        environment=environment or {},
        working_directory=Path("/home/me/runs"),
        temporary_directory=Path("/scratch"),
        which=lambda name: f"/usr/bin/{name}",
        ask=ask,
        free_bytes=lambda path: free_bytes,
        detect=lambda: gpus,
    )


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def torch_answer(**told: Any) -> Answer:
    full = {"version": "2.15.0+cu132", "cuda": "13.2", "hip": None, "usable": False, "names": [], "said": []} | told
    return Answer(0, "a library says hello\n" + json.dumps(full) + "\n", "")


def by_name(findings: Sequence[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_python_and_nvtx_are_those_that_run_this() -> None:
    assert check_python(surroundings())[0].status == "ok"
    assert check_nvtx(surroundings())[0].status == "ok"


def test_uv() -> None:
    (found,) = check_uv(surroundings())
    assert found == Finding("uv", "ok", "0.9.1 (2026-01-01) at /usr/bin/uv")
    assert check_uv(surroundings(answer=Answer(1, "", "broken")))[0].status == "unknown"
    absent = Surroundings(find_tool=lambda name: None, which=lambda name: None)
    assert check_uv(absent)[0].status == "missing"


@pytest.mark.parametrize(
    ("told", "gpus", "environment", "status", "part"),
    [
        ({"usable": True, "names": ["NVIDIA H100 80GB HBM3"]}, ONE_H100, {}, "ok", "H100"),
        ({}, NO_DRIVER, {}, "missing", "no GPU"),
        ({"cuda": None, "version": "2.15.0+cpu"}, ONE_H100, {}, "missing", "without CUDA"),
        ({}, ONE_H100, {"CUDA_VISIBLE_DEVICES": ""}, "missing", "hides"),
        ({"cuda": "14.0"}, ONE_H100, {}, "missing", "supports CUDA 13.0, torch needs 14.0"),
        ({"said": ["CUDA initialization: Unexpected error\nmore"]}, ONE_H100, {}, "missing", "Unexpected error"),
        ({}, ONE_H100, {}, "missing", "does not say why"),
    ],
)
def test_why_torch_can_or_cannot_use_a_gpu(
    told: dict[str, Any], gpus: GpuInventory, environment: dict[str, str], status: str, part: str
) -> None:
    around = surroundings(answer=torch_answer(**told), gpus=gpus, environment=environment)
    torch, cuda = check_torch(around)
    assert torch.status == "ok" and "built with" in torch.detail
    assert (cuda.name, cuda.status) == ("cuda", status)
    assert part in cuda.detail


@pytest.mark.parametrize(
    "answer",
    [
        Answer(1, "", "Traceback\nImportError: libcudart.so.13: cannot open shared object file"),
        Answer(-11, "", ""),
        Answer(124, "", "no answer within 180 s"),
        Answer(0, "", ""),
        Answer(0, "[1]", ""),
    ],
)
def test_a_torch_that_does_not_import(answer: Answer) -> None:
    torch, cuda = check_torch(surroundings(answer=answer))
    assert torch.status == "missing" and cuda.status == "unknown"
    if "libcudart" in answer.stderr:
        assert "libcudart.so.13" in torch.detail


def test_a_gpu_of_the_catalogue() -> None:
    found = by_name(check_gpu(surroundings(gpus=ONE_H100)))
    assert found["driver"].detail == "580.82.07, up to CUDA 13.0"
    assert found["nvml"].status == "ok"
    assert found["gpu"].detail == "NVIDIA H100 80GB HBM3, 80 GiB, compute capability 9.0; catalogue: h100-sxm5"


def test_gpus_the_catalogue_does_not_know() -> None:
    strange = H100.model_copy(update={"index": 1, "name": "RTX 9090", "catalogue_id": None, "catalogue_reason": "new"})
    found = by_name(check_gpu(surroundings(gpus=ONE_H100.model_copy(update={"gpus": (H100, strange)}))))
    assert found["gpu:0"].status == "ok"
    assert found["gpu:1"].status == "warn" and "hardware.peak_tflops" in found["gpu:1"].remedy


@pytest.mark.parametrize(
    ("inventory", "statuses"),
    [
        (NO_DRIVER, ("missing", "missing", "missing")),
        (NO_PACKAGE, ("unknown", "missing", "unknown")),
        (GpuInventory(driver_version="580.1", none_because="the NVIDIA driver lists no GPU"), ("ok", "ok", "missing")),
    ],
)
def test_no_gpu_says_which_part_is_missing(inventory: GpuInventory, statuses: tuple[str, ...]) -> None:
    found = by_name(check_gpu(surroundings(gpus=inventory)))
    assert (found["driver"].status, found["nvml"].status, found["gpu"].status) == statuses


def test_tools() -> None:
    found = by_name(
        check_tools(
            surroundings(
                find_tool=lambda name: Found(name, "/opt/nsys", "2026.2.1", "PATH") if name == "nsys" else None,
                environment={"LLMPERF_NCU": "/wrong/ncu"},
            )
        )
    )
    assert found["nsys"] == Finding("nsys", "ok", "2026.2.1 at /opt/nsys (PATH)")
    assert found["ncu"].status == "missing" and "/wrong/ncu" in found["ncu"].detail

    def too_old(name: str) -> Tool | None:
        raise MissingError(f"{name} 2019.1 is too old", "install 2024.1 or later")

    (old, _) = check_tools(surroundings(find_tool=too_old))
    assert old == Finding("nsys", "missing", "nsys 2019.1 is too old", "install 2024.1 or later")


@pytest.mark.parametrize(
    ("admin_only", "status", "expected"),
    [
        ("0", USER_STATUS, "ok"),
        ("1", USER_STATUS, "missing"),
        ("1", ROOT_STATUS, "ok"),
        ("1", CONTAINER_ROOT_STATUS, "missing"),
        ("1", "CapEff:\tnonsense\n", "missing"),
    ],
)
def test_gpu_counter_permission(tmp_path: Path, admin_only: str, status: str, expected: str) -> None:
    root = write(tmp_path, proc__driver__nvidia__params=PARAMS.format(admin_only), proc__self__status=status)
    found = by_name(check_permissions(surroundings(root)))["counters"]
    assert found.status == expected
    assert ("NVreg_RestrictProfilingToAdminUsers=0" in found.remedy) == (expected == "missing")


def test_gpu_counter_permission_that_cannot_be_told(tmp_path: Path) -> None:
    assert by_name(check_permissions(surroundings(tmp_path)))["counters"].status == "unknown"
    root = write(tmp_path, proc__driver__nvidia__params="RmLogonRC: 1\n")
    assert by_name(check_permissions(surroundings(root)))["counters"].status == "unknown"


@pytest.mark.parametrize(
    ("level", "status", "expected"),
    [
        ("-1\n", USER_STATUS, "ok"),
        ("2\n", USER_STATUS, "ok"),
        ("4\n", USER_STATUS, "warn"),
        ("4\n", ROOT_STATUS, "ok"),
        ("much\n", USER_STATUS, "unknown"),
    ],
)
def test_perf_event_paranoid(tmp_path: Path, level: str, status: str, expected: str) -> None:
    root = write(tmp_path, proc__sys__kernel__perf_event_paranoid=level, proc__self__status=status)
    assert by_name(check_permissions(surroundings(root)))["perf"].status == expected


def test_dcgm_is_recognised_by_its_processes(tmp_path: Path) -> None:
    root = write(tmp_path, proc__1__comm="systemd\n", proc__417__comm="nv-hostengine\n", proc__self__status=USER_STATUS)
    (found,) = check_dcgm(surroundings(root))
    assert found.status == "warn" and "nv-hostengine (pid 417)" in found.detail and "dcgmi" in found.remedy
    (quiet,) = check_dcgm(surroundings(write(tmp_path / "other", proc__1__comm="systemd\n")))
    assert quiet.status == "ok"
    (nothing,) = check_dcgm(surroundings(tmp_path / "empty"))
    assert nothing.status == "unknown"


def test_disk() -> None:
    assert [found.status for found in check_disk(surroundings())] == ["ok", "ok"]
    little = check_disk(surroundings(free_bytes=2 * 10**9))
    assert [found.status for found in little] == ["warn", "warn"]
    assert little[0].detail == "2.0 GB free in /home/me/runs; captures may need 5 GB"

    def refused(path: Path) -> int:
        raise PermissionError(13, "Permission denied")

    closed = Surroundings(find_tool=lambda name: None, free_bytes=refused)
    assert {found.status for found in check_disk(closed)} == {"unknown"}


WORLDS = (
    surroundings(answer=torch_answer()),
    surroundings(answer=torch_answer(cuda=None), gpus=ONE_H100, free_bytes=1),
    surroundings(answer=Answer(1, "", "ImportError: x"), gpus=NO_PACKAGE),
)


@pytest.mark.parametrize("world", WORLDS)
def test_whatever_is_wrong_has_a_remedy_and_can_be_required(world: Surroundings) -> None:
    findings = checks.examine(world)
    for finding in findings:
        assert finding.detail
        assert finding.status == "ok" or finding.remedy, finding
        assert finding.name.partition(":")[0] in checks.REQUIRABLE
    assert {finding.name.partition(":")[0] for finding in findings} == set(checks.REQUIRABLE)


def test_requirements_are_parsed() -> None:
    assert checks.parse_requirements("") == ()
    assert checks.parse_requirements(" cuda, nsys,,cuda ") == ("cuda", "nsys")
    with pytest.raises(ConfigError) as caught:
        checks.parse_requirements("cuda,nsight")
    assert "nsight" in caught.value.message and "Choices" in caught.value.remedy


def test_requirements_are_enforced() -> None:
    findings = (
        Finding("cuda", "missing", "no GPU", "get one"),
        Finding("gpu:0", "warn", "RTX 9090", "set it"),
        Finding("gpu:1", "missing", "lost", "restart"),
        Finding("ncu", "missing", "not on PATH", "install it"),
        Finding("counters", "unknown", "no driver", "as for driver"),
        Finding("python", "ok", "3.13"),
    )
    checks.enforce(findings, ())
    checks.enforce(findings, ("python", "gpu"))
    with pytest.raises(MissingError) as caught:
        checks.enforce(findings, ("python", "cuda", "ncu", "counters"))
    assert caught.value.exit_code == 3
    assert caught.value.message == "required but not usable: cuda (no GPU); ncu (not on PATH); counters (no driver)"
    assert "ncu: install it" in caught.value.remedy


def test_json_has_every_field() -> None:
    told = checks.as_json([Finding("uv", "missing", "not on PATH", "install it")])
    assert told == {
        "schema_version": 1,
        "findings": [{"name": "uv", "status": "missing", "detail": "not on PATH", "remedy": "install it"}],
    }


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("width", [60, 80, 100])
def test_text_fits_its_width(world: Surroundings, width: int) -> None:
    lines = checks.as_text(checks.examine(world), width).splitlines()
    # Only an address or a path that is longer than the room may stand out.
    assert all(len(line) <= width or len(line.split()) == 1 for line in lines)


details = st.text(max_size=300).map(lambda text: f"found {text}")


@given(st.lists(st.tuples(st.sampled_from(("ok", "warn", "missing", "unknown")), details), min_size=1))
def test_no_finding_is_lost_in_the_text(told: list[tuple[Any, str]]) -> None:
    findings = [Finding(f"check{index}", status, detail) for index, (status, detail) in enumerate(told)]
    text = checks.as_text(findings, 60)
    assert all(finding.name in text for finding in findings)


def test_the_text_ends_with_what_matters() -> None:
    good = Finding("python", "ok", "3.13")
    assert checks.as_text([good], 60).splitlines()[-1] == "everything is in place"
    bad = Finding("ncu", "missing", "not on PATH", "install it")
    text = checks.as_text([good, bad], 60, paint=lambda word, status: f"<{word}>")
    assert text.splitlines()[:3] == [
        "<ok>       python  3.13",
        "<missing>  ncu     not on PATH",
        " " * 17 + "-> install it",
    ]
    assert text.splitlines()[-1] == "missing: ncu"


STAT = "cpu  {busy} 0 0 900 0 0 0 0 0 0\ncpu0 1 2 3\n"
PSI = "some avg10=0.00 avg60=0.00 avg300=0.00 total={total}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
CPU = "sys__devices__system__cpu__"


def quiet(root: Path, *, busy_ticks: int = 0, waited_us: int = 0, system: str = "Linux") -> dict[str, Finding]:
    """What is found where so much happens in the second that is watched."""

    def wait(seconds: float) -> None:
        write(root, proc__stat=STAT.format(busy=100 + busy_ticks), proc__pressure__cpu=PSI.format(total=waited_us))

    def no_driver() -> Nvml:
        raise NvmlUnavailable("no NVIDIA driver is installed")

    write(root, proc__loadavg="0.10 0.1 0.1 1/200 7\n", proc__stat=STAT.format(busy=100))
    write(root, proc__pressure__cpu=PSI.format(total=0))
    around = replace(surroundings(root), system=system, wait=wait, load_nvml=no_driver)
    return by_name(checks.examine(around, quiet=True))


def test_a_quiet_machine(tmp_path: Path) -> None:
    own = sorted(os.sched_getaffinity(0))[0]
    write(tmp_path, **{f"{CPU}cpu{own}__cpufreq__scaling_governor": "performance\n"})
    write(tmp_path, **{f"{CPU}intel_pstate__no_turbo": "1\n", f"{CPU}smt__active": "0\n"})
    found = quiet(tmp_path)
    assert {name: finding.status for name, finding in found.items()} == {
        **dict.fromkeys(("governor", "turbo", "smt", "load", "pressure"), "ok"),
        "gpu-processes": "unknown",
    }
    checks.enforce(tuple(found.values()), ("governor", "load"), quiet=True)


def test_what_to_switch_off(tmp_path: Path) -> None:
    own = sorted(os.sched_getaffinity(0))[0]
    write(tmp_path, **{f"{CPU}cpu{own}__cpufreq__scaling_governor": "powersave\n"})
    write(tmp_path, **{f"{CPU}cpufreq__boost": "1\n", f"{CPU}smt__active": "1\n"})
    # Enough for any clock: the stand-in's second passes in no time.
    found = quiet(tmp_path, busy_ticks=10**6, waited_us=10**9)
    assert {finding.status for name, finding in found.items() if name != "gpu-processes"} == {"warn"}
    remedies = {"governor": "cpupower", "turbo": "boost", "smt": "smt/control", "load": "top", "pressure": "stop"}
    assert all(word in found[name].remedy for name, word in remedies.items())
    with pytest.raises(MissingError, match="not quiet: governor"):
        checks.enforce(tuple(found.values()), ("governor",), quiet=True)


def test_what_cannot_be_told_is_no_quiet(tmp_path: Path) -> None:
    found = quiet(tmp_path)
    assert found["governor"].status == found["turbo"].status == "unknown"
    with pytest.raises(MissingError, match="turbo"):
        checks.enforce(tuple(found.values()), ("turbo",), quiet=True)
    elsewhere = quiet(tmp_path, system="Darwin")
    assert {finding.status for finding in elsewhere.values()} == {"unknown"}
    assert "Darwin" in elsewhere["load"].detail
    with pytest.raises(ConfigError, match="did you mean load"):
        checks.parse_requirements("lod", quiet=True)
