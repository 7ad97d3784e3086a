"""The child that traces: a JSON order on stdin, a description or an error as JSON on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import sys

from llm_perf_opt.short_lived import answer_and_end


def main() -> int:
    """Read one order, trace, answer. Exit code 0 for a description, 2 for a refusal with its reason."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["HF_HUB_OFFLINE"] = "1"
    order = json.load(sys.stdin)
    # Libraries print on import; the answer alone goes to stdout.
    with contextlib.redirect_stdout(sys.stderr):
        from llm_perf_opt.analysis.traced.trace import trace_description
        from llm_perf_opt.analysis.traced.wire import description_to_wire
        from llm_perf_opt.errors import LlmperfError

        images = tuple((width, height) for width, height in order["images"])
        try:
            description = trace_description(
                order["config"], images, order["where"], views=order["views"], pixel_limits=order["pixel_limits"]
            )
            answer, code = json.dumps(description_to_wire(description)), 0
        except LlmperfError as error:
            answer, code = json.dumps({"message": error.message, "remedy": error.remedy}), 2
    sys.stdout.write(answer)
    return code


if __name__ == "__main__":
    answer_and_end(main)
