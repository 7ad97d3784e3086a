"""What a sample becomes, found in a child: preparing it takes the model's own processor, which imports torch.

Reads a question on standard input, answers on standard output; no model is built and no code of a model's is run.
"""

from __future__ import annotations

import json
import sys

from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.short_lived import answer_and_end
from llm_perf_opt.stages.static_analysis.sizes import REFUSED
from llm_perf_opt.workload.adapter import find_adapter
from llm_perf_opt.workload.inputs import BadSampleError


def main() -> int:
    """Answers; `REFUSED` where the sample or the model's files cannot be used, with the reason."""
    question = json.load(sys.stdin)
    config, sample = Config.model_validate(question["config"]), Sample.model_validate(question["sample"])
    sizes = find_adapter(config.model.name).sizes
    assert sizes is not None, "the parent asks only adapters that can tell"
    try:
        print(sizes(config, sample).model_dump_json())
    except LlmperfError as error:
        print(json.dumps({"message": error.message, "remedy": error.remedy, "exit_code": error.exit_code}))
        return REFUSED
    except BadSampleError as error:
        print(json.dumps({"message": str(error), "remedy": "repair or remove it", "exit_code": 1}))
        return REFUSED
    return 0


if __name__ == "__main__":
    answer_and_end(main)
