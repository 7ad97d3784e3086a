"""How many ranks share a model, and what each gets of a number of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llm_perf_opt.errors import ConfigError

Routing = Literal["least", "even", "most"]
"""How many of the tokens choose the experts of one rank, where experts are dealt out whole."""


def share(size: int, ranks: int, rank: int) -> int:
    """What `rank` has of `size` rows cut as torch cuts a tensor: equal parts rounded up, the last ones less."""
    part = -(-size // ranks)
    return max(0, min(size - rank * part, part))


def equal(size: int, ranks: int, what: str) -> int:
    """One of the equal parts of `size`.

    Raises:
        ConfigError: there are none.
    """
    if size % ranks:
        raise ConfigError(f"{what}: {size:,} cannot be cut into {ranks} equal parts", "choose --tensor so that it can")
    return size // ranks


@dataclass(frozen=True, slots=True)
class Split:
    """Ranks that share a model."""

    tensor: int
    expert: int = 1
    """Groups of ranks that hold whole experts of their own; 1 cuts every expert over all ranks."""

    def __post_init__(self) -> None:
        if self.tensor % self.expert:
            raise ConfigError(
                f"--expert {self.expert} does not divide --tensor {self.tensor}",
                "each group of experts has the same number of ranks: choose a divisor",
            )

    @property
    def ranks_per_expert(self) -> int:
        """Ranks over which one expert is cut."""
        return self.tensor // self.expert
