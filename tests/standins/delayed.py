"""A command prefix for campaigns: the child as it is, its clock in CPU seconds, every decode step a share longer.

    python delayed.py SHARE python -m llm_perf_opt.workload ORDER

CPU seconds of the child are near what a quiet machine would have taken: other load is in them only so far as it takes
away caches and clocks.
"""

from __future__ import annotations

import sys
import time
from typing import Any


def main() -> int:
    share = float(sys.argv[1])
    sys.argv = [sys.argv[0], *sys.argv[5:]]
    from llm_perf_opt.workload import __main__ as child

    time.perf_counter = time.process_time
    if share:
        from llm_perf_opt.workload.execution import Decoding

        step: Any = Decoding.step

        def slower(self: Any, token: Any) -> Any:
            start = time.process_time()
            logits = step(self, token)
            end = time.process_time()
            while time.process_time() < end + (end - start) * share:
                pass
            return logits

        Decoding.step = slower  # type: ignore[method-assign]
    return child.main()


if __name__ == "__main__":
    sys.exit(main())
