from __future__ import annotations
from llm_perf_opt.records.base import Record
class Environment(Record):
    schema_version: int = 1
    os: str = "?"
