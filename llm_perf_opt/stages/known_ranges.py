"""The NVTX ranges that llmperf's own workload opens, and refusing a capture that waits for another.

Only names in the default domain are judged: libraries push theirs in domains of their own. Where an adapter does not
say which ranges it opens, or the model's code may be anybody's, nothing is refused.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.nearest import is_near, nearest
from llm_perf_opt.tools.nvtx import TranslatedFilter, parse_capture
from llm_perf_opt.workload.adapter import find_adapter

PHASES = ("warmup", "prefill", "decode")
_NUMBERED = re.compile(r"(sample|step)\[\d+\]")


def check_trigger(config: Config, expression: str) -> None:
    """Refuse an `nvtx_capture` that names no range of the workload.

    Raises:
        ConfigError: the nearest range is named.
    """
    trigger = parse_capture(expression)
    kinds = _kinds(config)
    if kinds is None or trigger.domain not in (None, "*") or _opened(trigger.range, kinds, config):
        return
    # Of any domain: it may be one of a library, unless it is nearly one of ours.
    if trigger.domain == "*" and not any(is_near(trigger.range, name) for name in kinds):
        return
    raise _refusal("pipeline.nsys.nvtx_capture", trigger.range, kinds, config)


def check_filters(config: Config, filters: Sequence[TranslatedFilter]) -> None:
    """Refuse an `nvtx.include` that names a range which the workload never opens; regular expressions are not read.

    Raises:
        ConfigError: the nearest range is named.
    """
    kinds = _kinds(config)
    if kinds is None:
        return
    for item in filters:
        if item.note is not None:
            raise ConfigError(f"pipeline.ncu.ncu_cli.nvtx.include: {item.written} names no range", item.note)
        for name in _names(item):
            if not _opened(name, kinds, config, glob=item.kind == "glob"):
                raise _refusal("pipeline.ncu.ncu_cli.nvtx.include", name, kinds, config)


def _names(item: TranslatedFilter) -> list[str]:
    """The names in an expression of the default domain."""
    if "@" in item.written or "regex:" in item.written:
        return []
    if item.kind != "as-written":
        return [item.written]
    parts = re.split(r"(?<!\\)/", item.written)
    bare = [re.sub(r"(?<!\\)[\[\]]", "", part) for part in parts]
    return [re.sub(r"\\(.)", r"\1", part) for part in bare if part not in ("", "*", "+")]


def _kinds(config: Config) -> dict[str, str | None] | None:
    """Range → what has to be in `measure.ranges` for it, None for nothing; None where others may be opened."""
    adapter = find_adapter(config.model.name)
    if adapter.modules is None or (config.model.trust_remote_code and adapter.anybodys_code):
        return None
    return {
        **dict.fromkeys(PHASES, "phase"),
        **dict.fromkeys(adapter.modules, "module"),
        **dict.fromkeys(adapter.own_ranges),
        "sample[0]": "sample",
        "step[0]": "step",
    }


def _opened(name: str, kinds: dict[str, str | None], config: Config, *, glob: bool = False) -> bool:
    if glob:
        return any(
            fnmatch.fnmatchcase(known, name.replace("[", "[[]")) and _asked(kind, config)
            for known, kind in kinds.items()
        )
    numbered = _NUMBERED.fullmatch(name)
    known = f"{numbered[1]}[0]" if numbered else name
    return known in kinds and _asked(kinds[known], config)


def _asked(kind: str | None, config: Config) -> bool:
    # Hooks on modules would change what a compiled model runs.
    return kind is None or (kind in config.measure.ranges and (kind != "module" or config.infer.execution == "eager"))


def _refusal(key: str, name: str, kinds: dict[str, str | None], config: Config) -> ConfigError:
    numbered = _NUMBERED.fullmatch(name)
    kind = kinds.get(f"{numbered[1]}[0]" if numbered else name)
    if kind is not None and kind not in config.measure.ranges:
        return ConfigError(
            f"{key}: {name} is opened only with {kind} in measure.ranges", f"add it: {_with(kind, config)}"
        )
    if kind is not None:
        return ConfigError(
            f"{key}: {name} is opened only by infer.execution: eager, not {config.infer.execution}",
            "capture a phase, or set infer.execution: eager",
        )
    opened = [known for known, needed in kinds.items() if _asked(needed, config)]
    if not opened:
        return ConfigError(f"{key}: the workload opens no range", "name kinds of ranges in measure.ranges: [phase]")
    return ConfigError(
        f"{key}: the workload opens no range {name}",
        f"did you mean {nearest(name, list(kinds))}? {config.model.name} opens {', '.join(opened)} with "
        f"measure.ranges: [{', '.join(config.measure.ranges)}]",
    )


def _with(kind: str, config: Config) -> str:
    return f"measure.ranges: [{', '.join((*config.measure.ranges, kind))}]"
