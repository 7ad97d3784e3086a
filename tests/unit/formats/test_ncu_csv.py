"""Raw pages that ncu printed."""

from __future__ import annotations

import pytest

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_csv import raw_page
from llm_perf_opt.formats.ncu_details import details_page
from llm_perf_opt.formats.ncu_raw import read_results

NVTX_COLUMN = "thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg"
COLUMNS = "ID|Process ID|Process Name|Host Name|Kernel Name|Context|Stream|Block Size|Grid Size|Device|CC"
ROWS = (
    f"{COLUMNS}|{NVTX_COLUMN}|dram__bytes_read.sum|gpu__time_duration.sum|flop_count_hp.sum",
    "|||||||block|grid||||Mbyte|us|",
    "0|12|python|127.0.0.1|void f<int, float>(int)|1|7|(128, 1, 1)|(72, 4, 1)|0|12.0|decode|2.64|1,013.31|n/a",
    "1|13|python|127.0.0.1|g|1|7|(128, 1, 1)|(72, 4, 1)|0|12.0|decode|0|13.31",
)
RAW = ["==PROF== Connected to process 12\n", *('"' + row.replace("|", '","') + '"\n' for row in ROWS)]


def test_raw_csv() -> None:
    facts, _ = read_results(raw_page(RAW))
    assert (facts.results, facts.kernels) == (2, ("void f<int, float>(int)", "g"))
    assert [(item.pid, item.name, item.results) for item in facts.processes] == [(12, "python", 1), (13, "python", 1)]
    assert [(metric.name, metric.unit) for metric in facts.metrics] == [
        ("dram__bytes_read.sum", "Mbyte"),
        ("gpu__time_duration.sum", "us"),
        ("flop_count_hp.sum", ""),
    ]
    assert facts.empty_metrics == ("flop_count_hp.sum",)


def test_a_table_that_goes_on_under_its_header_again_is_one() -> None:
    more = '"' + ROWS[3].replace("|", '","').replace("1", "2", 1) + '"\n'
    facts, results = read_results(raw_page([*RAW, *RAW[1:4], more]), most=9)
    assert (facts.results, [result.id for result in results]) == (3, [0, 1, 2])


def test_a_second_table_of_other_columns_is_refused_with_the_line() -> None:
    other = [line.replace("flop_count_hp.sum", "other") for line in RAW[1:]]
    with pytest.raises(StageError, match="line 6 begins a second table, of other columns"):
        read_results(raw_page([*RAW, *other]))
    with pytest.raises(StageError, match="line 5: 1,5 is not a number"):
        read_results(raw_page([*RAW[:4], RAW[4].replace("13.31", "1,5")]), most=9)


def test_details_read_like_a_raw_page_in_base_units() -> None:
    header = '"' + COLUMNS.replace("|", '","') + '","Section Name","Metric Name","Metric Unit","Metric Value"\n'
    command = "Command line profiler metrics"

    def line(number: int, *cells: str) -> str:
        who = f"{number}|19963|plain|127.0.0.1|saxpy|1|7|(256, 1, 1)|(16384, 1, 1)|0|12.1".split("|")
        return ",".join(f'"{cell}"' for cell in (*who, command, *cells)) + "\n"

    lines = [
        '==PROF== Profiling "saxpy" - 0: 0%....50%....100% - 9 passes\n',
        header,
        line(0, "dram__throughput.avg.pct_of_peak_sustained_elapsed", "", "n/a"),
        line(0, "gpu__time_duration.sum", "us", "211.94"),
        line(1, "gpu__time_duration.sum", "ms", "1,205.00"),
    ]
    facts, results = read_results(details_page(lines), most=9)
    assert (facts.results, facts.kernels, facts.processes[0].name) == (2, ("saxpy",), "plain")
    assert [(metric.name, metric.unit) for metric in facts.metrics][1:] == [("gpu__time_duration.sum", "ns")]
    assert facts.empty_metrics == ("dram__throughput.avg.pct_of_peak_sustained_elapsed",)
    assert [result.values["gpu__time_duration.sum"] for result in results] == [pytest.approx(211_940), 1_205e6]


def test_no_raw_csv() -> None:
    with pytest.raises(StageError, match="no table"):
        raw_page(["==WARNING== No kernels were profiled.\n"])
    header_only, _ = read_results(raw_page(RAW[:3]))
    assert (header_only.results, header_only.empty_metrics) == (0, ())
