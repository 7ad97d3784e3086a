"""The identity of the work that was measured: stages are compared only where it is equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from llm_perf_opt.records.workload import ModelFacts


def work_fingerprint(model: ModelFacts, execution: str, work: Iterable[tuple[list[list[int]], list[list[int]]]]) -> str:
    """sha256 over model configuration and weights id, dtype, execution mode, and the input and output ids of `work`."""
    digest = hashlib.sha256()
    digest.update(_canonical([model.config, model.weights_id, model.dtype, execution]))
    for input_ids, output_ids in work:
        digest.update(_canonical([input_ids, output_ids]))
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()
