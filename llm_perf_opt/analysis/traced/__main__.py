"""The child that traces: a JSON order on stdin, a record or an error as JSON on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import sys


def main() -> int:
    """Read one order, trace, answer. Exit code 0 for a record, 2 for a refusal with its reason."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["HF_HUB_OFFLINE"] = "1"
    order = json.load(sys.stdin)
    # Libraries print on import; the answer alone goes to stdout.
    with contextlib.redirect_stdout(sys.stderr):
        from llm_perf_opt.analysis.traced.phases import trace_record
        from llm_perf_opt.errors import LlmperfError
        from llm_perf_opt.records.static import StaticRequest

        try:
            record = trace_record(order["config"], StaticRequest.model_validate(order["request"]), order["where"])
            answer, code = record.to_json(indent=None), 0
        except LlmperfError as error:
            answer, code = json.dumps({"message": error.message, "remedy": error.remedy}), 2
    sys.stdout.write(answer)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
