"""`inputs.yaml`: the samples a run was made on."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record


class MadeUp(Record):
    """A sample of given sizes whose content is drawn."""

    prompt_tokens: int | None
    """Text tokens beside those of images; null where the prompt of the configuration is the text."""
    images: tuple[tuple[int, int], ...]
    """(width, height) of each image, pixels."""
    seed: int


class Sample(Record):
    """One image, one prompt file, the prompt of the configuration, or one of given sizes."""

    kind: Literal["image", "prompt_file", "prompt", "made_up"]
    path: str | None
    """Absolute; null where there is no file."""
    text: str | None = None
    """The prompt of the configuration."""
    made_up: MadeUp | None = None
    size_bytes: int
    sha256: str

    @property
    def source(self) -> str:
        """What reports call this sample."""
        if self.made_up is not None:
            made = self.made_up
            text = "dataset.prompt" if made.prompt_tokens is None else f"{made.prompt_tokens} tokens"
            return " + ".join([text, *(f"{width}x{height}" for width, height in made.images)]) + f" (seed {made.seed})"
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
