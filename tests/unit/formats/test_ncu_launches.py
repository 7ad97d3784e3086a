"""ncu's CSVs, of either page, to launches in base units."""

from __future__ import annotations

import pytest

from llm_perf_opt.analysis.kernels.analyze import is_read
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_launches import ForeignTableError, csv_launches
from llm_perf_opt.formats.ncu_units import to_base

_WHO = "ID,Process ID,Process Name,Host Name,Kernel Name,Context,Stream,Block Size,Grid Size,Device,CC"
IDENTITY = ",".join(f'"{name}"' for name in _WHO.split(","))
RULE = ',"Rule Name","Rule Type","Rule Description","Estimated Speedup Type","Estimated Speedup"'
DETAILS = f'{IDENTITY},"Section Name","Metric Name","Metric Unit","Metric Value"{RULE}\n'
LABELLED = f'{IDENTITY},"Section Name","Body Item Label","Metric Name","Metric Unit","Metric Value"{RULE}\n'
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
        (f'{IDENTITY},"Metric Name","Metric Value"\n', ForeignTableError, "has no column Section Name"),
    ],
)
def test_what_is_no_whole_table(text: str, error: type[StageError], words: str) -> None:
    with pytest.raises(error, match=words):
        list(csv_launches(text.splitlines(keepends=True), "x.csv", is_read))
