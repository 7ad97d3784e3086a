"""Which launch a record is of, and `launches.json`: how each launch of a stage ended."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record


class Place(Record):
    """One launch: a fresh process that loads the model, warms up and makes timed repeats."""

    block: str
    """Launches of one block were made close together in time; those of two sides in one block, in turn."""
    launch: int
    """Number within its stage, from 0."""
    order: int
    """Place among all launches of the block, from 0."""
    started: str
    """UTC, ISO 8601."""


class LaunchEntry(Record):
    """How one launch ended."""

    place: Place
    ended: str
    """UTC, ISO 8601."""
    status: Literal["completed", "failed"]
    measured: bool
    """Whether its timed repeats are there; those of a launch that failed later count too."""
    reason: str | None = None
    remedy: str | None = None
    exit_code: int = 0
    work_fingerprint: str | None = None
    prefix: tuple[str, ...] = ()
    """What the child's command began with; secrets hidden."""


class Launches(Record):
    """`launches.json`, in the order they were made; written only where there are several."""

    schema_version: Literal[1] = 1
    launches: tuple[LaunchEntry, ...] = ()


class SampleTokens(Record):
    """What the model said to one sample, in the last timed repeat of the first epoch."""

    sample: int
    """Index into the samples of the inputs."""
    tokens: tuple[int, ...]
    """Up to and with the end-of-sequence token."""


class Tokens(Record):
    """`tokens.json`: the output ids, by which two runs are told to have said the same."""

    schema_version: Literal[1] = 1
    samples: tuple[SampleTokens, ...]
