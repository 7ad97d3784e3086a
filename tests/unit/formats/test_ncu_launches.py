"""ncu's CSVs, of either page, to launches in base units."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.kernels.analyze import is_read
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_launches import ForeignTableError, csv_launches
from llm_perf_opt.formats.ncu_raw import MisspeltError, number
from llm_perf_opt.formats.ncu_units import to_base

_WHO = "ID,Process ID,Process Name,Host Name,Kernel Name,Context,Stream,Block Size,Grid Size,Device,CC"
IDENTITY = ",".join(f'"{name}"' for name in _WHO.split(","))
RULE = ',"Rule Name","Rule Type","Rule Description","Estimated Speedup Type","Estimated Speedup"'
DETAILS = f'{IDENTITY},"Section Name","Metric Name","Metric Unit","Metric Value"{RULE}\n'
LABELLED = f'{IDENTITY},"Section Name","Body Item Label","Metric Name","Metric Unit","Metric Value"{RULE}\n'
OTHER_ORDER = f'{IDENTITY},"Metric Value","Metric Unit","Metric Name","Section Name"\n'
SOL, ROOFLINE = "GPU Speed Of Light Throughput", "GPU Speed Of Light Roofline Chart"


def row(*cells: str, number: int = 0, pid: int = 7) -> str:
    who = (
        str(number),
        str(pid),
        "python",
        "h",
        "void f<int, float>(int)",
        "1",
        "7",
        "(32, 4, 1)",
        "(72, 4, 1)",
        "0",
        "12.0",
    )
    return ",".join(f'"{cell}"' for cell in (*who, *cells)) + ",\n"


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("", 1), ("%", 1), ("inst", 1), ("inst/cycle", 1), ("byte/cycle", 1), ("register/thread", 1), ("warp", 1),
        ("ns", 1), ("us", 1e3), ("ms", 1e6), ("s", 1e9),
        ("nsecond", 1), ("usecond", 1e3), ("msecond", 1e6), ("second", 1e9),
        ("byte", 1), ("Kbyte", 1e3), ("Mbyte", 1e6), ("Gbyte", 1e9), ("Kbyte/block", 1e3),
        ("hz", 1), ("Mhz", 1e6), ("Ghz", 1e9), ("cycle/nsecond", 1e9), ("cycle/usecond", 1e6), ("cycle/second", 1),
        ("byte/s", 1), ("Gbyte/s", 1e9), ("Tbyte/second", 1e12),
    ],
)  # fmt: skip
def test_units(unit: str, factor: float) -> None:
    assert to_base(unit) == pytest.approx(factor)


def test_details_rows_become_one_launch() -> None:
    lines = [
        "==PROF== Connected to process 7\n",
        DETAILS,
        row(SOL, "Duration", "us", "1,013.31"),
        row(SOL, "Memory Throughput", "%", "47.96"),
        row("Memory Workload Analysis", "Memory Throughput", "Gbyte/s", "198.29"),
        row("Command line profiler metrics", "dram__bytes_read.sum", "Mbyte", "2.64"),
        row("Command line profiler metrics", "dram__bytes_write.sum", "", "n/a"),
        row(SOL, "Elapsed Cycles", "cycle", "26,086"),
        row("SpeedOfLight", "", "", "", "SOLBottleneck", "OPT", "Words, with a comma.", "", ""),
        "==WARNING== something\n",
        row(SOL, "Duration", "ns", "5", number=1),
        row(SOL, "Duration", "ns", "6", number=0, pid=8),
    ]
    first, second, third = csv_launches(lines, "x.csv", is_read)
    assert first.metrics == {
        "gpu__time_duration.sum": pytest.approx(1_013_310),
        "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed": 47.96,
        "dram__bytes.sum.per_second": pytest.approx(198.29e9),
        "dram__bytes_read.sum": pytest.approx(2.64e6),
    }
    assert (first.kernel, first.grid, first.block) == ("void f<int, float>(int)", "(72, 4, 1)", "(32, 4, 1)")
    assert (second.id, third.process_id) == ("1", "8")


def test_one_name_of_the_roofline_section_means_what_its_item_says() -> None:
    lines = [
        LABELLED,
        row(ROOFLINE, "", "Predicated-On FFMA Thread Instructions Executed Per Cycle", "inst/cycle", "83.00"),
        row(ROOFLINE, "Single Precision Roofline", "SM Frequency", "Ghz", "2.14"),
        row(ROOFLINE, "Single Precision Achieved Value", "SM Frequency", "Ghz", "2.13"),
        row(ROOFLINE, "Single Precision Roofline", "DRAM Frequency", "Ghz", "13.72"),
    ]
    (launch,) = csv_launches(lines, "x.csv", is_read)
    assert launch.metrics == {
        "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum.per_cycle_elapsed": 83.0,
        "sm__cycles_elapsed.avg.per_second": pytest.approx(2.14e9),
        "smsp__cycles_elapsed.avg.per_second": pytest.approx(2.13e9),
        "dram__cycles_elapsed.avg.per_second": pytest.approx(13.72e9),
    }


def test_a_raw_page_is_read_in_base_units_and_names_its_gpu() -> None:
    lines = [
        f'{IDENTITY},"thread Domain:Push/Pop_Range:x","gpu__time_duration.sum",'
        '"device__attribute_display_name","other__x"\n',
        '"","","","","","","","block","grid","","","","us","",""\n',
        row("decode", "1.5", "NVIDIA H100", "3"),
    ]
    (launch,) = csv_launches(lines, "x.csv", is_read)
    assert launch.metrics == {"gpu__time_duration.sum": 1500.0}
    assert launch.gpu == "NVIDIA H100"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("a,b\n1,2\n", ForeignTableError, "has no table of ncu"),
        ("==WARNING== No kernels were profiled.\n", ForeignTableError, "has no table of ncu"),
        (DETAILS, StageError, "no launches"),
        (DETAILS + row(SOL, "Duration", "us", "1.0")[:-6], StageError, "not a whole CSV"),
        (DETAILS + row(SOL, "Duration").rstrip(",\n") + "\n", StageError, "in the middle of launch 0"),
        (OTHER_ORDER + row("1.0", "us", "Duration").rstrip(",\n") + "\n", StageError, "in the middle of launch 0"),
        (f'{IDENTITY},"Metric Name","Metric Value"\n', ForeignTableError, "has no column Section Name"),
    ],
)
def test_what_is_no_whole_table(text: str, error: type[StageError], words: str) -> None:
    with pytest.raises(error, match=words):
        list(csv_launches(text.splitlines(keepends=True), "x.csv", is_read))


RAW_HEADER = f'{IDENTITY},"gpu__time_duration.sum","lts__t_sector_hit_rate.pct"\n'
RAW_UNITS = ",".join(f'"{unit}"' for unit in (*[""] * 11, "us", "%")) + "\n"
OTHER_HEADER = f'{IDENTITY},"dram__bytes.sum"\n'
OTHER_UNITS = ",".join(f'"{unit}"' for unit in (*[""] * 11, "Mbyte")) + "\n"
COMMAND = "Command line profiler metrics"


def test_a_second_header_begins_a_table_of_its_own() -> None:
    lines = [RAW_HEADER, RAW_UNITS, row("1.0", "50"), "==PROF== Report\n", OTHER_HEADER, OTHER_UNITS, row("2", pid=9),
             DETAILS, row(SOL, "Duration", "us", "3.0", pid=11)]  # fmt: skip
    found = list(csv_launches(lines, "x.csv", is_read))
    assert [(launch.process_id, launch.kernel) for launch in found] == [
        (pid, "void f<int, float>(int)") for pid in ("7", "9", "11")
    ]
    assert [launch.metrics for launch in found] == [
        {"gpu__time_duration.sum": 1000.0, "lts__t_sector_hit_rate.pct": 50.0},
        {"dram__bytes.sum": 2e6},
        {"gpu__time_duration.sum": 3000.0},
    ]


@pytest.mark.parametrize(
    "lines",
    [
        [RAW_HEADER, RAW_UNITS, row("1.0", "50"), row("1.0", "50"), row("2.0", "50", number=1), row("1.0", "50")],
        [DETAILS, row(SOL, "Duration", "us", "1.0"), row(SOL, "Duration", "us", "1.0"),
         row(SOL, "Duration", "us", "2.0", number=1), row(SOL, "Duration", "us", "1.0")],
    ],
)  # fmt: skip
def test_a_repeated_row_is_one_launch(lines: list[str]) -> None:
    assert [launch.id for launch in csv_launches(lines, "x.csv", is_read)] == ["0", "1"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([RAW_HEADER, RAW_UNITS, row("1.0", "50"), row("2.0", "50")], "line 4 has launch 0 of process 7 again"),
        ([DETAILS, row(SOL, "Duration", "us", "1.0"), row(SOL, "Duration", "us", "2.0")], "line 3 has launch 0"),
        (
            [DETAILS, row(SOL, "Duration", "us", "1.0"), row(SOL, "Duration", "us", "2.0", number=1),
             row(SOL, "Duration", "us", "3.0")],
            "line 4 has launch 0 of process 7 again, with other values than line 2",
        ),
    ],
)  # fmt: skip
def test_two_values_for_one_launch_are_refused_with_the_line(lines: list[str], words: str) -> None:
    with pytest.raises(StageError, match=words):
        list(csv_launches(lines, "x.csv", is_read))


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["==PROF== x\n", RAW_HEADER, RAW_UNITS, row("12,5", "50")], 4),
        ([RAW_HEADER, RAW_UNITS, row("1.205,00", "50")], 3),
        ([DETAILS, row(SOL, "Duration", "us", "0,25")], 2),
        ([DETAILS, row(COMMAND, "gpu__time_duration.sum", "us", "1,2")], 2),
    ],
)
def test_a_decimal_comma_is_refused_with_the_line(lines: list[str], line: int) -> None:
    with pytest.raises(MisspeltError, match=f"line {line}: .* is not a number as ncu prints it"):
        list(csv_launches(lines, "x.csv", is_read))


@pytest.mark.parametrize("text", ["NAN", "+nan", "inf", "-Infinity", "1e999", "1_0", "１２", "0x10", "n/a", ""])
def test_what_python_takes_for_a_number_and_ncu_does_not_print_is_none(text: str) -> None:
    assert number(text) is None


@given(st.floats(-1e12, 1e12), st.integers(0, 6))
def test_a_number_is_read_as_it_is_printed_and_never_with_a_decimal_comma(value: float, digits: int) -> None:
    printed = f"{value:,.{digits}f}"
    assert number(printed) == float(f"{value:.{digits}f}")
    assert number(printed.replace(",", "")) == number(printed)
    european = printed.translate(str.maketrans(",.", ".,"))
    if "," in european and len(european.partition(",")[2]) != 3:
        with pytest.raises(MisspeltError):
            number(european)


@pytest.mark.parametrize(
    ("shown", "kept", "words"),
    [
        ("100", 100.0, None),
        ("101.5", 101.5, "line 3: lts__t_sector_hit_rate.pct is 101.50 %, more than all"),
        ("140", None, "line 3: lts__t_sector_hit_rate.pct is 140.00 %, which no share can be: left out"),
    ],
)
def test_a_share_above_all_is_said_or_left_out(shown: str, kept: float | None, words: str | None) -> None:
    (launch,) = csv_launches([RAW_HEADER, RAW_UNITS, row("140", shown)], "x.csv", is_read)
    assert launch.metrics.get("lts__t_sector_hit_rate.pct") == kept
    assert launch.metrics["gpu__time_duration.sum"] == 140_000.0
    assert len(launch.remarks) == (words is not None)
    assert all(remark.startswith(words or "") for remark in launch.remarks)
    (launch,) = csv_launches(
        [DETAILS, row(SOL, "Duration", "us", "1"), row("Memory Workload Analysis", "L2 Hit Rate", "%", shown)],
        "x.csv",
        is_read,
    )
    assert launch.metrics.get("lts__t_sector_hit_rate.pct") == kept


def test_results_of_rules_and_stalls_come_along() -> None:
    lines = [
        DETAILS,
        row(SOL, "Duration", "us", "1.0"),
        row("SpeedOfLight", "", "", "", "SOLBottleneck", "OPT", "Words, with a comma.", "", ""),
        row("Occupancy", "", "", "", "AchievedOccupancy", "OPT", "More.", "global", "92.17"),
        row("Warp State Statistics", "Stall Long Scoreboard", "inst", "5.21"),
        row("Warp State Statistics", "Selected", "inst", "1.00"),
    ]
    (launch,) = csv_launches(lines, "x.csv", is_read)
    assert [(rule.name, rule.kind, rule.message, rule.speedup_kind, rule.speedup_pct) for rule in launch.rules] == [
        ("SOLBottleneck", "OPT", "Words, with a comma.", None, None),
        ("AchievedOccupancy", "OPT", "More.", "global", 92.17),
    ]
    stalled = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"
    assert launch.metrics[stalled.format("long_scoreboard")] == 5.21
    assert launch.metrics[stalled.format("selected")] == 1.0
