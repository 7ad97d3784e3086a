from __future__ import annotations
from llm_perf_opt.records.environment import Environment
def read_environment() -> Environment:
    return Environment()
