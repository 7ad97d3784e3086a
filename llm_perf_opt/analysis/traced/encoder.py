"""Passes of an encoder of text without weights: each reads its prompt at once and keeps nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from llm_perf_opt.analysis.traced.known_values import KnownValues
from llm_perf_opt.analysis.traced.probe import Probed, Prober, Traced

PASSES = ((1, 7), (1, 11), (1, 13), (2, 17))
"""Sequences and tokens of the short passes; primes, so that a count tells what it is made of."""
LONG = 1021
"""Of the pass that the description is checked with: past the blocks that some encoders cut a text into."""


class EncoderProber(Prober):
    """Forward passes of one encoder without its weights."""

    _known = False
    """Whether its tokens have values in every pass."""

    @property
    def keeps_nothing(self) -> bool:
        """Always: there are no steps to keep anything for."""
        return True

    @property
    def limit(self) -> int | None:
        """Positions that it has a table of; None where it has none."""
        tables = [
            module
            for path, module in self.built.model.named_modules()
            if path.rpartition(".")[2] == "position_embeddings" and isinstance(module, nn.Embedding)
        ]
        # The rows up to that of padding are nobody's position.
        rows = [t.num_embeddings - (0 if t.padding_idx is None else t.padding_idx + 1) for t in tables]
        most = getattr(self.built.text_config, "max_position_embeddings", None)
        return min([*rows, most] if isinstance(most, int) else rows) if rows else None

    def new_cache(self) -> Any:
        """None: nothing is cached."""
        return None

    def forward(self, tokens: int, cache: Any, *, past: int = 0, batch: int = 1, every: bool = False) -> Traced:
        """One pass over `tokens` tokens a sequence."""
        ids = torch.ones(batch, tokens, dtype=torch.long)
        if not self._known:
            try:
                return self._pass({"input_ids": ids.to("meta")})
            except RuntimeError:
                # Some ask their tokens how long their prompt is.
                self._known = True
        with KnownValues():  # type: ignore[no-untyped-call]
            return self._pass({"input_ids": ids})

    def probe(self) -> Probed:
        """The passes that the description is made from."""
        passes = tuple(self.forward(tokens, None, batch=batch) for batch, tokens in PASSES)
        return Probed(PASSES[0][1], passes, None, all_logits=False, alone=PASSES)
