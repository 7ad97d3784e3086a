from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_perf_opt.captures.ncu import copied
from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.formats.ncu_raw import read_results
from llm_perf_opt.formats.ncu_rep import read_report, read_rules
from llm_perf_opt.formats.ncu_units import base_unit
from tests.unit.formats.ncu_rep_writer import block, encode, kernel, metric, report, rule, varint

TIME, BYTES, MAJOR, MINOR, DEVICE = range(5)
STRINGS = (
    "gpu__time_duration.sum",
    "dram__bytes_read.sum",
    "device__attribute_compute_capability_major",
    "device__attribute_compute_capability_minor",
    "launch__device_id",
)
ATTRIBUTES: dict[int, int | float | str | None] = {MAJOR: 9, MINOR: 0, DEVICE: 1}
SMALL = report(
    block(sources=[b"a cubin"], strings=STRINGS[:2]),
    block(kernels=[kernel("f<int, float>(int)", {TIME: 1600.5, BYTES: 2**60, **ATTRIBUTES})], strings=STRINGS[2:]),
    block(kernels=[kernel('say "hi"()', {TIME: 12.0})], process=(43, "", r"C:\bin\other.exe")),
)


def table(path: Path) -> list[dict[str, str]]:
    """The raw page as it is written for an imported report."""
    written = io.StringIO()
    assert sum(1 for _ in copied(read_report(path), written).rows) == written.getvalue().count("\n") - 2
    return list(csv.DictReader(io.StringIO(written.getvalue())))


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "report.ncu-rep"
    path.write_bytes(content)
    return path


def test_a_small_report(tmp_path: Path) -> None:
    units, first, second = table(written(tmp_path, SMALL))
    assert (units["ID"], units[STRINGS[TIME]], units[STRINGS[BYTES]]) == ("", "ns", "byte")
    assert list(first.items()) == [
        ("ID", "0"),
        ("Process ID", "42"),
        ("Process Name", "python"),
        ("Host Name", "host"),
        ("Kernel Name", "f<int, float>(int)"),
        ("Context", "1"),
        ("Stream", "7"),
        ("Block Size", "(128, 1, 1)"),
        ("Grid Size", "(3, 2, 1)"),
        ("Device", "1"),
        ("CC", "9.0"),
        (STRINGS[MAJOR], "9"),
        (STRINGS[MINOR], "0"),
        (STRINGS[BYTES], str(2**60)),
        (STRINGS[TIME], "1600.5"),
        (STRINGS[DEVICE], "1"),
    ]
    assert (second["ID"], second["Process ID"], second["Process Name"]) == ("1", "43", "other.exe")
    assert (second["Kernel Name"], second[STRINGS[TIME]], second[STRINGS[BYTES]]) == ('say "hi"()', "12", "")
    assert (second["Device"], second["CC"]) == ("", "")


def test_what_reads_ncu_exports_reads_it_too(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    facts, results = read_results(read_report(path), most=5)
    assert (facts.results, facts.empty_metrics) == (2, ())
    assert [(process.pid, process.results) for process in facts.processes] == [(42, 1), (43, 1)]
    assert facts.kernels == ("f<int, float>(int)", 'say "hi"()')
    first, second = results
    assert (first.values, second.values[STRINGS[BYTES]]) == ({STRINGS[TIME]: 1600.5, STRINGS[BYTES]: 2.0**60}, None)


def test_values_come_as_they_are_stored(tmp_path: Path) -> None:
    page = read_report(written(tmp_path, SMALL))
    first, second = page.rows
    assert [(name, first.cells[at], second.cells[at]) for name, at in page.metrics.items()] == [
        (STRINGS[MAJOR], 9, None),
        (STRINGS[MINOR], 0, None),
        (STRINGS[BYTES], 2**60, None),
        (STRINGS[TIME], 1600.5, 12.0),
        (STRINGS[DEVICE], 1, None),
    ]


def test_results_of_rules_with_their_estimates(tmp_path: Path) -> None:
    said = "This grid is too small. Look at @section:LaunchStats:Launch Statistics@ or @url:the Guide:https://x.y/z#w@."
    rules = [
        rule("Silent", "SpeedOfLight"),
        rule("SOLBottleneck", "SpeedOfLight", encode((1, encode((1, said), (2, 4))), (8, b"focus"))),
        rule("Two", "Occupancy", encode((1, encode((1, "at @source:7f:0x7f@"), (2, 2)))),
             encode((1, encode((1, "b"), (2, 1)))), encode((10, encode((1, 2), (2, 92.5))))),
    ]  # fmt: skip
    path = written(tmp_path, report(block(kernels=[kernel("f()", {}, rules=rules), kernel("g()", {})])))
    (profiled, found), (_, nothing) = read_rules(path)
    assert (profiled.name, profiled.id, nothing) == ("f()", "0", ())
    assert [(item.section, item.name, item.kind, item.message) for item in found] == [
        (
            "SpeedOfLight",
            "SOLBottleneck",
            "OPT",
            "This grid is too small. Look at Launch Statistics or the Guide (https://x.y/z#w).",
        ),
        ("Occupancy", "Two", "WRN", "at 0x7f"),
        ("Occupancy", "Two", "INF", "b"),
    ]
    assert [(item.speedup_kind, item.speedup_pct) for item in found] == [(None, None), (None, None), ("global", 92.5)]
    assert next(read_report(path).rows).rules == found


def test_ranges_groups_and_metrics_without_a_value(tmp_path: Path) -> None:
    strings = ["group:some__table", "sm__count", "text"]
    metrics = [metric(0, "a,b"), metric(1, None), metric(2, "two words")]
    ranged = encode((1, 10), *((4, item) for item in metrics), (11, 3))
    _, row = table(written(tmp_path, report(block(ranges=[ranged], strings=strings, process=None))))
    assert (row["Kernel Name"], row["Context"], row["Stream"], row["Grid Size"]) == ("range", "3", "", "")
    assert (row["Process ID"], row["sm__count"], row["text"]) == ("", "", "two words")
    assert "group:some__table" not in row


def test_the_process_may_stand_in_the_session_details(tmp_path: Path) -> None:
    header = encode((2, 1), (3, encode((1, 77), (2, 5))), (4, b""), (5, len(kernel("f()", {})) + 4))
    content = report() + len(header).to_bytes(4, "little") + header
    content += len(kernel("f()", {})).to_bytes(4, "little") + kernel("f()", {})
    assert table(written(tmp_path, content))[1]["Process ID"] == "77"


def test_a_report_without_results_is_a_header(tmp_path: Path) -> None:
    facts, _ = read_results(read_report(written(tmp_path, report(block()))))
    assert (facts.results, facts.metrics) == (0, ())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "begins with b''"),
        (b"SQLite format 3\0", "begins with b'SQLi'"),
        (b"\x28\xb5\x2f\xfd1234", "compressed with zstd"),
        (report(version=8), "format has version 8; version 7 is known"),
        (SMALL[:6], "cut off"),
        (SMALL[:-1], "cut off"),
        (report(block(kernels=[kernel("f()", {3: 1})], strings=["a"])), "names string 3, and the string table has 1"),
        (report(b"\xff\xff\xff\xff"), "a message of 4,294,967,295 bytes"),
        (report(block(kernels=[varint(13 << 3 | 2) + varint(2**40)])), "does not fit into its message"),
        (report(block(kernels=[varint(13 << 3 | 3)])), "unknown wire type 3"),
        (report(block(kernels=[b"\xff" * 20])), "more than ten bytes"),
        (report(block(kernels=[encode((13, 5))])), "a number stands where a message was expected"),
    ],
)
def test_what_is_no_report_is_said(tmp_path: Path, content: bytes, expected: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(StageError, match=r"report\.ncu-rep cannot be read") as raised:
        list(read_report(path).rows)
    assert expected in raised.value.message
    assert "ncu --import" in raised.value.remedy


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.ncu-rep", tmp_path):
        with pytest.raises(MissingError, match="cannot be read"):
            read_report(path)


@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255), st.integers(0, len(SMALL)))
@example(8, 0, len(SMALL))
def test_damage_never_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, position: int, byte: int, length: int
) -> None:
    content = bytearray(SMALL)
    content[position] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.ncu-rep"
    path.write_bytes(content[:length])
    try:
        read_results(read_report(path))
    except StageError:
        pass
    else:
        assert length > 8  # nothing that short is a report


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("gpu__time_duration.sum", "ns"),
        ("dram__bytes_read.sum", "byte"),
        ("dram__bytes.sum.per_second", "byte/s"),
        ("dram__bytes.sum.peak_sustained", "byte/cycle"),
        ("dram__throughput.avg.pct_of_peak_sustained_elapsed", "%"),
        ("lts__t_sector_hit_rate.pct", "%"),
        ("sm__maximum_warps_per_active_cycle_pct", "%"),
        ("sm__cycles_elapsed.avg.per_second", "hz"),
        ("smsp__inst_executed.sum", "inst"),
        ("sm__inst_executed.avg.per_cycle_active", "inst/cycle"),
        ("lts__t_sectors_op_read.sum", "sector"),
        ("launch__registers_per_thread", "register/thread"),
        ("launch__shared_mem_per_block_static", "byte/block"),
        ("launch__occupancy_limit_warps", "block"),
        ("launch__grid_size", ""),
        ("smsp__issue_active.avg.per_cycle_active", ""),
        ("smsp__thread_inst_executed_per_inst_executed.ratio", ""),
        ("sass__inst_executed_per_opcode", ""),
        ("lts__t_sectors.sum.some_new_submetric", ""),
    ],
)
def test_base_units(name: str, unit: str) -> None:
    assert base_unit(name) == unit


# What ncu 2022.3.0 prints of these two files with `--import FILE --csv --page raw`: names, and values in base units.
@pytest.mark.real_data
def test_the_recorded_report_of_one_kernel(shared_data: Path) -> None:
    path = shared_data / "ncu" / "rtx3070-ncu2020.3.ncu-rep"
    units, row = table(path)
    assert row["Kernel Name"] == "kernel(int const*, int*, unsigned long*, unsigned int*, unsigned int)"
    assert (row["Process ID"], row["Process Name"], row["Host Name"]) == ("2063114", "main", "127.0.0.1")
    assert (row["Grid Size"], row["Block Size"], row["CC"]) == ("(19532, 1, 1)", "(512, 1, 1)", "8.6")
    expected = {
        "device__attribute_display_name": ("NVIDIA GeForce RTX 3070", ""),
        "gpu__time_duration.sum": (336704.0, "ns"),
        "dram__bytes_read.sum": (40114816.0, "byte"),
        "lts__t_sectors.sum.per_second": (8488212198.25, "sector/s"),
        "l1tex__throughput.avg.pct_of_peak_sustained_active": (49.451913, "%"),
        "lts__t_sectors.avg.per_cycle_elapsed": (0.185859, "sector/cycle"),
        "launch__shared_mem_per_block_allocated": (1280.0, "byte/block"),
        "launch__function_pcs": (140042089212160, ""),
    }
    for name, (value, unit) in expected.items():
        found = row[name] if isinstance(value, str) else float(row[name])
        assert found == (value if isinstance(value, str) else pytest.approx(value, abs=6e-7, rel=1e-11)), name
        assert units[name] == unit
    assert _digest(path) == (651, "e9f282befce83923")


@pytest.mark.real_data
def test_the_recorded_report_of_four_kernels(shared_data: Path) -> None:
    path = shared_data / "ncu" / "gtx1660ti-ncu2022.4.ncu-rep"
    _, *rows = table(path)
    assert [row["Kernel Name"] for row in rows] == [
        "warmingUp(float *)",
        "mathKernel1(float *)",
        "mathKernel2(float *)",
        "mathKernel3(float *)",
    ]
    assert [row["gpu__time_duration.sum"] for row in rows] == ["1600", "1472", "1568", "1504"]
    assert {(row["Grid Size"], row["Block Size"], row["CC"], row["Device"]) for row in rows} == {
        ("(1, 1, 1)", "(64, 1, 1)", "7.5", "0")
    }
    assert _digest(path) == (1052, "a9024d8e87852ea8")


# What ncu 2024.1.1 prints of them with `--import FILE --csv --page details`: section, rule, type and message.
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "count", "digest"),
    [("rtx3070-ncu2020.3", 5, "1588e40821c94203"), ("gtx1660ti-ncu2022.4", 12, "b7a4b6a97b32518e")],
)
def test_the_recorded_results_of_rules(shared_data: Path, name: str, count: int, digest: str) -> None:
    found = read_rules(shared_data / "ncu" / f"{name}.ncu-rep")
    lines = sorted(
        "|".join((profiled.id, rule.section, rule.name, rule.kind, rule.message))
        for profiled, rules in found
        for rule in rules
    )
    assert (len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]) == (count, digest)


def _digest(path: Path) -> tuple[int, str]:
    """Number of all values, and a digest over them with the two digits that ncu prints in base units."""
    lines = []
    for row in table(path)[1:]:
        names = [name for name in row if "__" in name]
        lines += [f"{row['ID']} {name} {float(row[name]):.2f}" for name in names if _is_number(row[name])]
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("e-", "", 1).isdigit()
