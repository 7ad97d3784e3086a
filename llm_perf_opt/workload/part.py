"""What a stage's own part of the work in the child is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.workload.measure import Measured, Session

S_co = TypeVar("S_co", bound=StageSettings, covariant=True)


@dataclass(frozen=True)
class PartContext(Generic[S_co]):
    """A loaded, warmed-up model, after the timed repeats where the stage makes them."""

    session: Session
    settings: S_co
    """Of the stage."""
    measured: Measured
    """What the timed repeats gave; empty where the stage makes none."""
    output_dir: Path
    """Where records go: the stage's own directory."""
