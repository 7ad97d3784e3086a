"""Short passes of an encoder-decoder without weights: the encoder once, and its decoder beginning with the prompt.

The encoder reads text, whose length is that of the prompt, or sound, whose length is that of its window.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput

from llm_perf_opt.analysis.traced.model import Built
from llm_perf_opt.analysis.traced.probe import PROMPT, Kept, Probed, Prober, Traced

SOURCE = 101
"""Positions of a text that the encoder reads; a prime, so that a count tells what it is made of."""
_MANY = 1021
"""Of the passes that the description is checked with: past the blocks that some encoders cut a text into."""


class EncoderDecoderProber(Prober):
    """Forward passes of one encoder-decoder without its weights.

    Raises:
        ValueError: its encoder reads neither text nor sound of a fixed length.
    """

    def __init__(self, built: Built, *, deduplicate: bool = True) -> None:
        # The layers of its two stacks share one numbering: all of them run.
        super().__init__(built, deduplicate=False)
        self._encoded: Any = None
        self.reads_text = "input_ids" in self.accepted
        self.limit = _positions(built) if self.reads_text else None
        self.source = min(SOURCE, (self.limit or _MANY) // 2 + 1) if self.reads_text else _window(built.config)

    def new_cache(self) -> Any:
        """Empty caches of the decoder and of what it has seen of the encoder."""
        from transformers import DynamicCache, EncoderDecoderCache

        config = self.built.config.get_text_config(decoder=True)
        seen = copy.deepcopy(config)
        if getattr(seen, "layer_types", None):
            # A window is one of the decoder's own positions: it sees all of the encoder.
            seen.layer_types = ["full_attention"] * len(seen.layer_types)
            seen.sliding_window = None
        return EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=seen))

    def forward(self, tokens: int, cache: Any, *, past: int = 0, batch: int = 1, every: bool = False) -> Traced:
        """One pass of the decoder over `tokens` new tokens; the first over a sequence runs the encoder too."""
        given: dict[str, Any] = {"encoder_outputs": self._encoded} if past else self._inputs(batch)
        if "logits_to_keep" in self.accepted:
            given["logits_to_keep"] = 0 if every else 1
        wanted = torch.ones(batch, tokens, dtype=torch.long, device="meta")
        model = self.built.model
        found, traced = self._recorded(
            lambda: model(decoder_input_ids=wanted, past_key_values=cache, use_cache=True, **given)
        )
        self._encoded = BaseModelOutput(last_hidden_state=found.encoder_last_hidden_state)
        return traced

    def shift_source(self) -> int:
        """Another length of text for the passes that follow, where it has any; its positions."""
        if self.reads_text:
            self.source = min(_MANY, self.limit or _MANY)
        return self.source

    def _inputs(self, batch: int) -> dict[str, Any]:
        if self.reads_text:
            return {"input_ids": torch.ones(batch, self.source, dtype=torch.long, device="meta")}
        config = self.built.config
        return {"input_features": torch.empty(batch, config.num_mel_bins, 2 * self.source, device="meta")}

    def probe(self) -> Probed:
        """The prompt of the decoder, and two steps after it."""
        every = self.forward(PROMPT, self.new_cache(), every=True)
        cache = self.new_cache()
        prompt = self.forward(PROMPT, cache)
        first = self.forward(1, cache, past=PROMPT)
        second = self.forward(1, cache, past=PROMPT + 1)
        kept = [
            Kept(_elements(own), None, False, (), source=_elements(crossing))
            for own, crossing in zip(cache.self_attention_cache.layers, cache.cross_attention_cache.layers, strict=True)
            if own.is_initialized
        ]
        passes = (prompt, every, first, second)
        return Probed(PROMPT, passes, tuple(kept), "logits_to_keep" not in self.accepted, self.source)


def _elements(layer: Any) -> int:
    """Elements that one position of one sequence keeps in a layer of a cache."""
    return sum(int(tensor.numel() // tensor.shape[-2]) for tensor in (layer.keys, layer.values))


def _window(config: Any) -> int:
    """Positions of the one length of sound that an encoder reads."""
    positions = getattr(config, "max_source_positions", None)
    if not isinstance(positions, int) or not isinstance(getattr(config, "num_mel_bins", None), int):
        raise ValueError("its encoder reads neither text nor sound of a fixed length")
    return positions


def _positions(built: Built) -> int | None:
    """Positions that an encoder has a table of; None where it has none."""
    encoder: Any = built.model.get_encoder()  # type: ignore[operator]
    tabled = any("position" in name and name.endswith("weight") for name, _ in encoder.named_parameters())
    found = getattr(built.config, "max_position_embeddings", None)
    return found if tabled and isinstance(found, int) else None
