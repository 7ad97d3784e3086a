"""Whether the reports of a capture hold the NVTX ranges that llmperf's workload sent, and what that explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from llm_perf_opt.formats.nsys_export import range_counts
from llm_perf_opt.records.tools import Failure, RangeCheck
from llm_perf_opt.records.workload import RangesSent
from llm_perf_opt.tools.failures import ranges_not_sent
from llm_perf_opt.workload.senders import PROBE_RANGE

MOST_DIFFERENCES = 20


def check_ranges(
    ranges: RangesSent | None, exports: Sequence[Path], *, whole: bool, waited_for: str | None
) -> RangeCheck | None:
    """The ranges in `exports` against those that were sent; None where nobody knows what was sent.

    Args:
        whole: the capture was open from start to end, so every range must be in it; else some of them.
        waited_for: the range that opened it, which must be in it.
    """
    if ranges is None:
        return None
    held = range_counts(*exports) if exports else None
    if held is not None:
        held.pop(PROBE_RANGE, None)
    found = differences(ranges.sent, held, whole=whole, waited_for=waited_for) if held is not None else []
    return RangeCheck(
        sent=None if ranges.sent is None else sum(ranges.sent.values()),
        held=None if held is None else sum(held.values()),
        differences=tuple(found[:MOST_DIFFERENCES]),
        differences_left_out=max(0, len(found) - MOST_DIFFERENCES),
    )


def differences(
    sent: Mapping[str, int] | None, held: Mapping[str, int], *, whole: bool, waited_for: str | None
) -> list[str]:
    """What the reports should hold and do not, or hold and should not."""
    if sent is None:
        missing = waited_for is not None and not held.get(waited_for)
        return [f"{waited_for}: waited for, and not in the reports"] if missing else []
    wrong = {
        name: count
        for name, count in sent.items()
        if held.get(name, 0) > count
        or (whole and held.get(name, 0) < count)
        or (name == waited_for and not held.get(name))
    }
    ordered = sorted(wrong.items(), key=lambda item: (-abs(item[1] - held.get(item[0], 0)), item[0]))
    return [f"{name}: {count:,} sent, {held.get(name, 0):,} in the reports" for name, count in ordered]


def explained(
    failure: Failure | None, ranges: RangesSent | None, *, tool: str, waited_for: str | None
) -> Failure | None:
    """A failure to capture a range, with what is known of the ranges that were sent.

    Args:
        waited_for: the name of the range; None where the capture waited for none.
    """
    if failure is None or ranges is None or waited_for is None:
        return failure
    if ranges.sender is None and failure.code in ("workload-crashed", "trigger-never-matched", "filter-never-matched"):
        return ranges_not_sent(tool, ranges.reason or "it did not say why")
    if failure.code != "trigger-never-matched" or ranges.sent is None:
        return failure
    count = ranges.sent.get(waited_for, 0)
    names = ", ".join(sorted(ranges.sent)[:10]) or "none"
    known = (
        f"the workload sent {waited_for} {count:,} times in the default domain, through {ranges.sender}"
        if count
        else f"the ranges that the workload sent, all in the default domain: {names}"
    )
    return failure.model_copy(update={"message": f"{failure.message}; {known}"})


def range_remarks(check: RangeCheck | None, ranges: RangesSent | None, *, listens: bool) -> list[str]:
    """What must be said of a capture that is good all the same.

    Args:
        listens: NVTX was traced, so that ranges should be in the reports.
    """
    if ranges is None or not listens:
        return []
    if ranges.sender is None:
        return [f"the workload sent no NVTX ranges: {ranges.reason}"]
    if check is None or not check.differences:
        return []
    more = check.differences_left_out + len(check.differences) - 3
    listed = "; ".join(check.differences[:3]) + (f"; and {more} more" if more > 0 else "")
    return [f"NVTX ranges are missing from the reports, or are in them too often: {listed}"]
