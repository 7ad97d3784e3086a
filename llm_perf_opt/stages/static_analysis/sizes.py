"""The sizes that figures are wanted for: of the first sample as it is prepared for the model, or of a made-up one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, LlmperfError, MissingError, StageError
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.adapter import Adapter

# Of a synthetic sample; the report repeats them beside the figures.
TEXT_PROMPT_TOKENS = 2048
IMAGE_SIDE = 1024
"""Pixels, where the configuration names no size."""
TIMEOUT_S = 300.0
REFUSED = 65
"""What the child ends with where it says why it cannot answer (EX_DATAERR)."""


def synthetic_image(config: Config) -> tuple[int, int]:
    """An image of the global view's size."""
    preprocess = config.model.preprocess
    side = (preprocess.base_size if preprocess.enable else None) or IMAGE_SIDE
    return side, side


def sizes_of(sample: Sample, config: Config, adapter: Adapter) -> SampleSizes:
    """What `sample` becomes for the model.

    Raises:
        StageError, ConfigError, MissingError: it cannot be prepared, or the adapter cannot tell.
    """
    if adapter.sizes is None:
        raise StageError(
            f"the adapter {config.model.name} does not say what a sample becomes",
            "set pipeline.static_analysis.use_synthetic_inputs: true",
        )
    question = json.dumps({"config": config.model_dump(mode="json"), "sample": sample.model_dump(mode="json")})
    try:
        child = subprocess.run(
            [sys.executable, "-m", "llm_perf_opt.stages.static_analysis.child"],
            input=question,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StageError(f"preparing {sample.source} took more than {TIMEOUT_S:g} s", "use a smaller sample") from error
    answer = child.stdout.strip().splitlines()[-1:]
    if child.returncode == REFUSED and answer:
        refusal = json.loads(answer[0])
        kinds: dict[int, type[LlmperfError]] = {
            kind.exit_code: kind for kind in (StageError, ConfigError, MissingError)
        }
        raise kinds[refusal["exit_code"]](refusal["message"], refusal["remedy"])
    if child.returncode != 0 or not answer:
        last = child.stderr.strip().splitlines()[-1:] or ["no message"]
        raise StageError(
            f"the child that prepares {sample.source} ended with {child.returncode}: {last[0]}",
            "set pipeline.static_analysis.use_synthetic_inputs: true",
        )
    return SampleSizes.model_validate_json(answer[0])
