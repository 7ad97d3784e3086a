"""Whole experts that one rank holds of all, and its share of the tokens that go to them."""

from __future__ import annotations

from dataclasses import dataclass

from llm_perf_opt.analysis.sharding.shares import Routing
from llm_perf_opt.analysis.static.operators import Experts
from llm_perf_opt.analysis.static.passes import Pass
from llm_perf_opt.analysis.static.rows import Rows


@dataclass(frozen=True, slots=True)
class LocalExperts(Experts):
    """The experts of group `group` of `groups` of equal size; `count` and `top_k` are those of the whole layer.

    Each token chooses `top_k` different experts of all. How many of these choices fall on this group depends on the
    router; over all groups they are always tokens x top_k.
    """

    group: int = 0
    groups: int = 1
    routing: Routing = "even"

    @property
    def held(self) -> int:
        """Experts of this group."""
        return self.count // self.groups

    def parameters(self) -> int:
        return self.held * self._expert()

    def choices(self, step: Pass) -> int:
        """Choices of the tokens of a pass that fall on this group."""
        tokens = step.tokens if self.rows is Rows.TOKENS else step.batch * step.logits
        least = tokens * max(0, self.top_k - (self.count - self.held))
        most = tokens * min(self.top_k, self.held)
        if self.routing == "least":
            return least
        if self.routing == "most":
            return most
        # Dealt out one by one, so that the groups' parts are whole numbers that make up the whole.
        each, rest = divmod(tokens * self.top_k, self.groups)
        return each + (1 if self.group < rest else 0)

    def flops(self, step: Pass) -> int:
        return 2 * self.choices(step) * sum(i * o for i, o in self.projections)

    def implemented_flops(self, step: Pass) -> int:
        if not self.dense:
            return self.flops(step)
        return 2 * step.tokens * self.held * sum(i * o for i, o in self.projections)

    def experts_read(self, tokens: int) -> tuple[float, float, float]:
        if tokens == 0:
            return 0, 0, 0
        expected = self.held * (1 - (1 - self.top_k / self.count) ** tokens)
        least = max(0, self.top_k - (self.count - self.held))
        return least, max(expected, least), min(self.held, tokens * min(self.top_k, self.held))

    def activations(self, step: Pass) -> int:
        return self.choices(step) * sum(i + o for i, o in self.projections)
