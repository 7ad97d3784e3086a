"""Raw pages that ncu printed."""

from __future__ import annotations

import pytest

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_csv import raw_page
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


def test_no_raw_csv() -> None:
    with pytest.raises(StageError, match="no table"):
        raw_page(["==WARNING== No kernels were profiled.\n"])
    header_only, _ = read_results(raw_page(RAW[:3]))
    assert (header_only.results, header_only.empty_metrics) == (0, ())
