"""The instrumented run's parts: which modules are timed, what the marks add up to, and that no hook stays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

from llm_perf_opt.workload import instrument
from llm_perf_opt.workload.instrument import Probe, Target, find_targets, hooked, layer_parts
from llm_perf_opt.workload.loaded import LoadedModel
from llm_perf_opt.workload.memory import MemoryWatch
from llm_perf_opt.workload.ranges import DECODE, PREFILL


class Ticks:
    """A clock that goes on by one millisecond a mark."""

    def __init__(self) -> None:
        self.marks = 0

    def now(self) -> float:
        return self.marks / 1e3

    def mark(self) -> int:
        self.marks += 1
        return self.marks

    def read(self, values: torch.Tensor) -> list[int]:
        return list(values.tolist())

    def synchronize(self) -> None:
        return None

    def elapsed_ms(self, start: int, end: int) -> float:
        return float(end - start)


class Attention(nn.Linear):
    pass


class AttnNorm(nn.LayerNorm):
    pass


class DenseLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn_norm = AttnNorm(2)
        self.self_attn = Attention(2, 2)
        self.mlp = nn.Linear(2, 2)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.mlp(self.self_attn(self.attn_norm(hidden))))


class Mixture(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(2, 2)])

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.experts[0](hidden))


class SparseLayer(DenseLayer):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = Mixture()  # type: ignore[assignment]


class Decoder(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class Model(nn.Module):
    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.decoder = Decoder(layers)
        self.vision = nn.Linear(2, 2)
        self.lm_head = nn.Linear(2, 2)

    def get_decoder(self) -> nn.Module:
        return self.decoder

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        for layer in self.decoder.layers:
            hidden = layer(hidden)
        return cast(torch.Tensor, self.lm_head(hidden))


class Loaded:
    """As much of a loaded model as is looked at."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def modules(self) -> Mapping[str, nn.Module]:
        vision = getattr(self.model, "vision", None)
        return {"vision": vision} if isinstance(vision, nn.Module) else {}


def loaded(model: nn.Module) -> LoadedModel:
    return cast(LoadedModel, Loaded(model))


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    return Probe(Ticks(), MemoryWatch(torch.device("cpu"), clear_refs=tmp_path / "none" / "clear_refs"))


def test_targets_are_the_familys_modules_and_the_decoders_parts() -> None:
    targets, missing = find_targets(loaded(Model([DenseLayer(), SparseLayer(), SparseLayer()])))
    counts = {target.name: (len(target.modules), target.within) for target in targets}
    assert counts == {
        "vision": (1, None),
        "decoder.layers": (3, None),
        "decoder.attention": (3, "decoder.layers"),
        "decoder.mlp": (1, "decoder.layers"),
        "decoder.moe": (2, "decoder.layers"),
        "lm_head": (1, None),
    }
    assert not missing


def test_layers_without_parts_of_their_own_say_so() -> None:
    targets, missing = find_targets(loaded(Model([nn.Linear(2, 2)])))
    assert [target.name for target in targets] == ["vision", "decoder.layers", "lm_head"]
    assert set(missing) == {"decoder.attention", "decoder.mlp"}


def test_a_model_without_a_decoder_says_so() -> None:
    targets, missing = find_targets(loaded(nn.Linear(2, 2)))
    assert not targets
    assert missing == {"decoder.layers": "the model names no decoder with a list of layers"}


def test_norms_are_no_attention() -> None:
    assert [type(module) for module in layer_parts(DenseLayer()).values()] == [Attention, nn.Linear]


def test_marks_add_up_by_phase_and_nest(probe: Probe) -> None:
    model = Model([DenseLayer(), SparseLayer()])
    targets, _ = find_targets(loaded(model))
    with hooked(targets, probe):
        probe.enter(PREFILL)
        model(torch.zeros(1, 2))
        probe.leave()
        probe.enter(DECODE)
        for _ in range(3):
            model(torch.zeros(1, 2))
        probe.leave()
    times = {(time.phase, time.name): time for time in probe.times(targets)}
    assert ("prefill", "vision") not in times
    assert times["prefill", "decoder.layers"].calls == 2
    assert times["decode", "decoder.layers"].calls == 6
    # A layer's marks: its own, then two around attention and two around the feed-forward part.
    assert times["prefill", "decoder.layers"].total_ms == 2 * 5.0
    assert times["prefill", "decoder.attention"].total_ms == 2 * 1.0
    assert times["decode", "decoder.moe"].total_ms == 3 * 1.0
    for phase in ("prefill", "decode"):
        parts = [times[phase, f"decoder.{part}"].total_ms for part in ("attention", "mlp", "moe")]
        assert sum(parts) < times[phase, "decoder.layers"].total_ms


def test_no_hook_stays_whatever_happens(probe: Probe) -> None:
    model = Model([DenseLayer()])
    targets, _ = find_targets(loaded(model))

    def broken() -> None:
        with hooked(targets, probe):
            model(torch.zeros(1, 3))

    with pytest.raises(RuntimeError):
        broken()
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()]
    assert sum(hooks) == 0


def test_names_of_feed_forward_parts_are_those_of_transformers() -> None:
    assert {"mlp", "block_sparse_moe", "feed_forward"} <= set(instrument.FEED_FORWARD)


def test_a_target_of_many_modules_is_summed(probe: Probe) -> None:
    layers: list[Any] = [nn.Linear(2, 2), nn.Linear(2, 2)]
    target = Target("both", tuple(layers))
    with hooked([target], probe):
        probe.enter(PREFILL)
        for layer in layers:
            layer(torch.zeros(1, 2))
        probe.leave()
    (found,) = probe.times([target])
    assert (found.modules, found.calls, found.total_ms) == (2, 2, 2.0)
