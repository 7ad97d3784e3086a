"""A command prefix for campaigns: the child as it is, its clock in CPU seconds, every decode step a share longer.

    python delayed.py SHARE python -m llm_perf_opt.workload ORDER

CPU seconds of the child are near what a quiet machine would have taken: other load is in them only so far as it takes
away caches and clocks.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llm_perf_opt.workload.execution import Decoding


class Slower:
    """A generation whose steps take a share longer."""

    def __init__(self, decoding: Decoding, share: float) -> None:
        self.prefill = decoding.prefill
        self._step = decoding.step
        self._share = share

    def step(self, token: Any) -> Any:
        start = time.process_time()
        logits = self._step(token)
        end = time.process_time()
        while time.process_time() < end + (end - start) * self._share:
            pass
        return logits


def main() -> int:
    share = float(sys.argv[1])
    sys.argv = [sys.argv[0], *sys.argv[5:]]
    from llm_perf_opt.workload import __main__ as child

    time.perf_counter, time.perf_counter_ns = time.process_time, time.process_time_ns
    from llm_perf_opt.workload.execution import Execution

    begin = Execution.begin
    Execution.begin = lambda self, batch: Slower(begin(self, batch), share)  # type: ignore[method-assign]
    return child.main()


if __name__ == "__main__":
    sys.exit(main())
