"""`inputs.yaml`: the samples a run was made on."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record


class Sample(Record):
    """One image, one prompt file, or the prompt of the configuration."""

    kind: Literal["image", "prompt_file", "prompt"]
    path: str | None
    """Absolute; null for the prompt of the configuration."""
    text: str | None = None
    """The prompt of the configuration."""
    size_bytes: int
    sha256: str

    @property
    def source(self) -> str:
        """What reports call this sample."""
        return self.path if self.path is not None else "dataset.prompt"


class SampleSizes(Record):
    """What a sample becomes when it is prepared for the model."""

    prompt_tokens: int
    """Image tokens included."""
    image_tokens: int = 0
    views: tuple[tuple[int, int], ...] = ()
    """(width, height) of every view that goes through the vision tower, pixels; empty where the input does not tell."""


class Inputs(Record):
    """The samples, and the order they are run in."""

    schema_version: Literal[1] = 1
    samples: tuple[Sample, ...]
    epochs: tuple[tuple[int, ...], ...]
    """For each epoch, indices into `samples`."""
