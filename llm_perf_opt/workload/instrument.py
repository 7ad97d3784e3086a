"""One run more after the timed repeats, with hooks on modules: how prefill and decode divide among them.

Hooks cost time and, on a GPU, launch more work, so these times are never those of the timed repeats: they are nested in
their phase and only say how it divides. Phase peaks of memory are taken in the same run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from llm_perf_opt.records.workload import Instrumented, ModuleTime
from llm_perf_opt.workload.clock import Clock
from llm_perf_opt.workload.loaded import LoadedModel
from llm_perf_opt.workload.measure import Session
from llm_perf_opt.workload.memory import MemoryWatch
from llm_perf_opt.workload.ranges import DECODE, PREFILL, Ranges, Silent

LAYERS, ATTENTION, MLP, MOE, HEAD = (
    "decoder.layers",
    "decoder.attention",
    "decoder.mlp",
    "decoder.moe",
    "lm_head",
)
# How transformers' decoder layers call their feed-forward part.
FEED_FORWARD = ("mlp", "feed_forward", "ffn", "moe", "block_sparse_moe")


@dataclass(frozen=True)
class Target:
    """Modules whose times are added up under one name."""

    name: str
    modules: tuple[torch.nn.Module, ...]
    within: str | None = None
    """The target that contains these; None for a direct part of the phase."""


@dataclass
class Probe:
    """Collects marks while a run goes on, and reads them afterwards."""

    clock: Clock[Any]
    memory: MemoryWatch
    phase: str = ""
    spans: dict[tuple[str, str], list[tuple[Any, Any]]] = field(default_factory=dict)
    """(target, phase) → marks before and after each call."""

    def enter(self, phase: str) -> None:
        self.phase = phase
        self.memory.begin()

    def leave(self) -> None:
        if self.phase in (PREFILL, DECODE):
            self.clock.synchronize()
            self.memory.end("prefill" if self.phase == PREFILL else "decode")
        self.phase = ""

    def times(self, targets: Sequence[Target]) -> tuple[ModuleTime, ...]:
        """Sums over the calls of each target in each phase; all marks must be done."""
        return tuple(
            ModuleTime(
                name=target.name,
                phase="prefill" if phase == PREFILL else "decode",
                within=target.within,
                modules=len(target.modules),
                calls=len(self.spans[target.name, phase]),
                total_ms=sum(self.clock.elapsed_ms(*span) for span in self.spans[target.name, phase]),
            )
            for phase in (PREFILL, DECODE)
            for target in targets
            if (target.name, phase) in self.spans
        )


class _Phase(Silent):
    """Tells the probe where a phase begins and ends; pushes nothing."""

    __slots__ = ("_name", "_probe")

    def __init__(self, name: str, probe: Probe) -> None:
        self._name = name
        self._probe = probe

    def __enter__(self) -> None:
        self._probe.enter(self._name)

    def __exit__(self, *_: object) -> None:
        self._probe.leave()


class _PhaseWatch(Ranges):
    """Ranges of the instrumented run: the phases alone."""

    def __init__(self, probe: Probe) -> None:
        super().__init__(())
        self._probe = probe

    def phase(self, name: str) -> Silent:
        return _Phase(name, self._probe)


def instrumented_run(session: Session, samples: tuple[int, ...], memory: MemoryWatch) -> Instrumented:
    """Run `samples` once more, full length, with hooks where they do no harm."""
    targets, missing = find_targets(session.loaded)
    reason = _obstacle(session)
    probe = Probe(session.clock, memory)
    session.events.phase("modules", 0, 1)
    with hooked(targets if reason is None else [], probe):
        work = session.run_once(samples, _PhaseWatch(probe))
    session.clock.synchronize()
    times = probe.times(targets)
    if reason is None:
        called = {time.name for time in times}
        missing |= {target.name: "its forward was not called" for target in targets if target.name not in called}
    return Instrumented(
        samples=samples,
        prefill_ms=work.repeat.prefill_ms,
        decode_ms=work.repeat.decode_ms,
        modules=times,
        missing={} if reason is not None else missing,
        reason=reason,
    )


def _obstacle(session: Session) -> str | None:
    config = session.order.config
    if config.infer.execution != "eager":
        return f"infer.execution is {config.infer.execution}: hooks would change what runs"
    if "module" not in config.measure.ranges:
        return "measure.ranges leaves out module"
    return None


@contextlib.contextmanager
def hooked(targets: Sequence[Target], probe: Probe) -> Iterator[None]:
    """Mark every forward of the targets' modules; hooks are gone when the block ends."""
    handles = []
    for target in targets:
        before, after = _hooks(target.name, probe)
        for module in target.modules:
            handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after, always_call=True)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hooks(name: str, probe: Probe) -> tuple[Any, Any]:
    opened: list[Any] = []

    def before(_module: torch.nn.Module, _args: Any) -> None:
        opened.append(probe.clock.mark())

    def after(_module: torch.nn.Module, _args: Any, _result: Any) -> None:
        probe.spans.setdefault((name, probe.phase), []).append((opened.pop(), probe.clock.mark()))

    return before, after


def find_targets(loaded: LoadedModel) -> tuple[list[Target], dict[str, str]]:
    """What to time: the family's own submodules and the parts of the decoder; and why parts are missing."""
    targets = [Target(name, (module,)) for name, module in loaded.modules().items()]
    layers = decoder_layers(loaded.model)
    if layers is None:
        return targets, {LAYERS: "the model names no decoder with a list of layers"}
    targets.append(Target(LAYERS, tuple(layers)))
    parts = [part for layer in layers for part in layer_parts(layer).items()]
    missing = {}
    for name in (ATTENTION, MLP, MOE):
        modules = tuple(module for kind, module in parts if kind == name)
        if modules:
            targets.append(Target(name, modules, within=LAYERS))
    if not any(target.name == ATTENTION for target in targets):
        missing[ATTENTION] = "the decoder layers have no attention module of their own"
    if not any(target.name in (MLP, MOE) for target in targets):
        missing[MLP] = "the decoder layers have no feed-forward module of their own"
    head = loaded.model.get_output_embeddings()
    if isinstance(head, torch.nn.Module):
        targets.append(Target(HEAD, (head,)))
    return targets, missing


def decoder_layers(model: Any) -> Sequence[torch.nn.Module] | None:
    """The layers of the text decoder: the longest list of modules directly under what the model calls its decoder."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else None
    if not isinstance(decoder, torch.nn.Module):
        return None
    lists = [list(child) for child in decoder.children() if isinstance(child, torch.nn.ModuleList)]
    return max(lists, key=len, default=None)


def layer_parts(layer: torch.nn.Module) -> Mapping[str, torch.nn.Module]:
    """Attention and feed-forward part of one decoder layer, by the name of their target."""
    parts: dict[str, torch.nn.Module] = {}
    for name, module in layer.named_children():
        kind = type(module).__name__.lower()
        if "norm" in kind or "dropout" in kind:
            continue
        if "attn" in name or "attention" in name:
            parts.setdefault(ATTENTION, module)
        elif name in FEED_FORWARD:
            mixture = any(part.rpartition(".")[2] == "experts" for part, _ in module.named_modules())
            parts.setdefault(MOE if mixture else MLP, module)
    return parts
