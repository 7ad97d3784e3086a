"""The details page of ncu as CSV (`--csv`, with `--page details` or no page): one row a metric, under display names.

Rows are shorter than the header unless they carry a rule's message. The display names of sections are turned into the
names of the metrics behind them, so that both pages read the same; docs/nsight/kernels.md says where the pairs are
from.
"""

from __future__ import annotations

_FP = "sass_thread_inst_executed_op_"
_SOL = "GPU Speed Of Light Throughput"
_MEMORY = "Memory Workload Analysis"
_ROOFLINE = "GPU Speed Of Light Roofline Chart"

COMMAND_LINE = "Command line profiler metrics"
"""Section whose metrics have their own names already."""

_PLAIN = {
    _SOL: {
        "Duration": "gpu__time_duration.sum",
        "Compute (SM) Throughput": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
        "Memory Throughput": "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",
        "DRAM Throughput": "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
        "L1/TEX Cache Throughput": "l1tex__throughput.avg.pct_of_peak_sustained_active",
        "L2 Cache Throughput": "lts__throughput.avg.pct_of_peak_sustained_elapsed",
    },
    _MEMORY: {
        "Memory Throughput": "dram__bytes.sum.per_second",
        "Mem Busy": "gpu__compute_memory_access_throughput.avg.pct_of_peak_sustained_elapsed",
        "Max Bandwidth": "gpu__compute_memory_request_throughput.avg.pct_of_peak_sustained_elapsed",
        "L1/TEX Hit Rate": "l1tex__t_sector_hit_rate.pct",
        "L2 Hit Rate": "lts__t_sector_hit_rate.pct",
    },
    "Occupancy": {
        "Theoretical Occupancy": "sm__maximum_warps_per_active_cycle_pct",
        "Achieved Occupancy": "sm__warps_active.avg.pct_of_peak_sustained_active",
    },
    "Launch Statistics": {"Waves Per SM": "launch__waves_per_multiprocessor"},
    _ROOFLINE: {
        f"Predicated-On {op} Thread Instructions Executed Per Cycle": (
            f"smsp__{_FP}{op.lower()}_pred_on.sum.per_cycle_elapsed"
        )
        for op in ("FADD", "FMUL", "FFMA", "DADD", "DMUL", "DFMA")
    }
    | {
        f"Theoretical Predicated-On {op} Thread Instructions Executed": (
            f"sm__{_FP}{op.lower()}_pred_on.sum.peak_sustained"
        )
        for op in ("FFMA", "DFMA")
    }
    | {
        "Theoretical DRAM Bytes Accessible": "dram__bytes.sum.peak_sustained",
        "DRAM Frequency": "dram__cycles_elapsed.avg.per_second",
        "DRAM Bandwidth": "dram__bytes.sum.per_second",
    },
}  # fmt: skip

# In the roofline section one display name stands for two metrics, told apart by the item it belongs to.
_BY_ITEM = {
    (_ROOFLINE, "Single Precision Roofline", "SM Frequency"): "sm__cycles_elapsed.avg.per_second",
    (_ROOFLINE, "Double Precision Roofline", "SM Frequency"): "sm__cycles_elapsed.avg.per_second",
    (_ROOFLINE, "Single Precision Achieved Value", "SM Frequency"): "smsp__cycles_elapsed.avg.per_second",
    (_ROOFLINE, "Double Precision Achieved Value", "SM Frequency"): "smsp__cycles_elapsed.avg.per_second",
}


def metric_name(section: str, item: str, shown: str) -> str | None:
    """The metric behind a display name; None for those that nothing here uses.

    Args:
        section: "Section Name" of the row.
        item: "Body Item Label"; empty where the page has no such column.
        shown: "Metric Name".
    """
    if section == COMMAND_LINE:
        return shown
    return _BY_ITEM.get((section, item, shown)) or _PLAIN.get(section, {}).get(shown)
