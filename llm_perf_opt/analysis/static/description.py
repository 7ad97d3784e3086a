"""What a family says about a model: its blocks, and what was assumed to say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader

ImageSize = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Block:
    """Operators that run one after the other, `repeat` times with the same sizes."""

    name: str
    operators: tuple[Operator, ...]
    repeat: int = 1
    layers: tuple[int, ...] = ()
    """Which decoder layers these are; empty for anything else."""
    borrowed: bool = False
    """The weights are those of another block, counted and read there: a shared block at a further depth."""


@dataclass(frozen=True, slots=True)
class Vision:
    """The vision path for one sequence's images: its blocks and the tokens it puts into the prompt."""

    blocks: tuple[Block, ...]
    tokens: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """A model as operators, before any number of tokens is known."""

    blocks: tuple[Block, ...]
    """The decoder, from embedding to output head."""
    vision: Callable[[Sequence[ImageSize]], Vision] | None = None
    """The vision path for the images of one sequence; None for a model of text alone."""
    vision_reason: str = "this model takes no images"
    """Why there is no vision path."""
    notes: tuple[str, ...] = ()
    source: int = 0
    """Positions that an encoder reads before the decoder begins, where every input has as many (sound)."""
    prompt_is_source: bool = False
    """The encoder reads the prompt, and the decoder begins with one token of its own."""
    source_limit: int | None = None
    """Positions that the encoder has at most."""
    positions: int | None = None
    """Positions that the decoder has a learned table of; None where it has none."""
    no_decoding: str = ""
    """Of an encoder alone: why there is no decode step."""
    uncounted: str = ""
    """Parts of the model whose weights are not known here, so that its parameters are not either."""


@dataclass(frozen=True, slots=True)
class Options:
    """Choices of the request that change a model's operators."""

    mla_form: str = "reexpanded"
    views: tuple[ImageSize, ...] | None = None
    """Sizes of the views that go through the encoder, where a run knows them; None follows the processor."""
    images: tuple[ImageSize, ...] = ()
    """Images of each prompt, for a decoder whose layers depend on them."""
    pixel_limits: tuple[int, int] | None = None
    """Fewest and most pixels of an image that was resized, of families that keep its shape; None is the usual ones."""


@dataclass(frozen=True, slots=True)
class Family:
    """One model type: the keys it reads with transformers' defaults, and how to describe it."""

    model_type: str
    defaults: Mapping[str, Any]
    describe: Callable[[Reader, Options], Description]
    aliases: Mapping[str, str] = field(default_factory=dict)
    remote: bool = False
    """The model's code lives beside its weights, not in transformers: nothing to compare defaults with."""
