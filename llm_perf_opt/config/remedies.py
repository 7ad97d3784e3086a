"""Where settings of the earlier system live now, and what to do about particular mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llm_perf_opt.config.emit import flow
from llm_perf_opt.config.keys import all_settings, allows_null, field_at, section_at, section_of
from llm_perf_opt.config.problems import OLD, Problem, at
from llm_perf_opt.config.tree import Node, dotted
from llm_perf_opt.nearest import is_near, nearest

_NCU_FLAT = {"nvtx_include": "nvtx.include", "set": "set", "metrics": "metrics", "sections": "sections"}
_STATIC = ("enable", "write_reports", "use_analytic_fallback", "use_synthetic_inputs")
_TORCH = (
    "enable",
    "activities",
    "record_shapes",
    "profile_memory",
    "with_stack",
    "group_by_input_shape",
    "warmup_rounds",
    "warmup_synthetic",
)

MOVED: dict[str, str] = {
    "run.stage1_repeats": "dataset.sampling.num_samples_per_epoch",
    "run.repeats": "measure.repeats",
    "run.dataset_subset_filelist": "dataset.subset_filelist",
    "run.representative_max_new_tokens": "infer.max_new_tokens",
    "run.top_n_kernels": "pipeline.ncu.ncu_cli.kernel_name",
    "run.device": "device",
    **{
        f"{old}.{'enabled' if key == 'enable' else key}": f"pipeline.static_analysis.{key}"
        for old in ("analysis.static", "runners.analysis.static")
        for key in _STATIC
    },
    "torch_profiler.enabled": "pipeline.torch_profiler.enable",
    **{f"torch_profiler.{key}": f"pipeline.torch_profiler.{key}" for key in _TORCH},
    **{f"pipeline.ncu.{old}": f"pipeline.ncu.ncu_cli.{new}" for old, new in _NCU_FLAT.items()},
    "infer.decoder_prompt": "dataset.prompt",
    "artifacts.stage2_dir": "artifacts.runs_dir",
    "stage1_runner.device": "device",
    "hydra.run.dir": "artifacts.runs_dir",
}
"""Key of the earlier system → key that does its work now."""
UNDER_PIPELINE = ("nsys", "ncu")
"""Sections of the earlier system's root that are under `pipeline` now."""


_OUTPUT = "pipeline.torch_profiler.output"
_OCR = f"{_OUTPUT}.extra.deepseek_ocr"
OUTPUTS: dict[str, str] = {
    "save_predictions": f"{_OUTPUT}.prediction.enable",
    **{
        f"{name}.{key}": f"{new}.{key}"
        for name in ("prediction", "predictions")
        for key, new in (
            ("enable", f"{_OUTPUT}.prediction"),
            ("save_dir", f"{_OUTPUT}.prediction"),
            ("strip_special_tokens", f"{_OCR}.prediction"),
        )
    },
    "visualization.enable": f"{_OUTPUT}.visualization.enable",
    "visualization.save_dir": f"{_OUTPUT}.visualization.save_dir",
    "visualization.max_images": f"{_OCR}.visualization.max_images",
    "visualization.thumbnail_width": f"{_OCR}.visualization.thumbnail_width",
    "extra.deepseek_ocr.prediction.strip_special_tokens": f"{_OCR}.prediction.strip_special_tokens",
    "extra.deepseek_ocr.visualization.max_images": f"{_OCR}.visualization.max_images",
    "extra.deepseek_ocr.visualization.thumbnail_width": f"{_OCR}.visualization.thumbnail_width",
}
"""Key below the root `outputs` or `output` of the earlier system → key that does its work now."""
OUTPUT_ROOTS = ("outputs", "output")

REMOVED: dict[str, str] = {
    "run.mode": "remove it: the stages that are enabled say what runs",
    "stage1_runner.disable_static": "remove it: nothing but the model ever runs under nsys and ncu",
    "hydra": "remove it: results go under artifacts.runs_dir, relative paths start at the directory llmperf runs in",
}
"""Keys of the earlier system that have no successor."""

_SECTIONS = {
    "run": "the settings of `run` live elsewhere now; `llmperf config migrate` moves them",
    "analysis": "these settings live under pipeline.static_analysis now",
    "runners": "these settings live under pipeline.static_analysis now",
    "stage1_runner": "nsys and ncu start the model with the whole configuration; there is nothing to hand over",
    "torch_profiler": "these settings live under pipeline.torch_profiler now",
    **{root: f"these settings live under pipeline.{root} now" for root in UNDER_PIPELINE},
    **dict.fromkeys(OUTPUT_ROOTS, f"these settings live under {_OUTPUT} now"),
}
_NOTES = {
    "run.top_n_kernels": "; `llmperf kernels top` lists the kernels worth naming",
    "hydra.run.dir": ": run directories are made in it; --output DIR names the run directory itself",
}


def moved_to(name: str) -> str | None:
    """Where a setting of the earlier system lives now; None if it is no such setting."""
    root, _, below = name.partition(".")
    if root in UNDER_PIPELINE and below:
        inside = f"pipeline.{name}"
        field = field_at(inside.split("."))
        return MOVED.get(inside) or (inside if field is not None and section_of(field) is None else None)
    return OUTPUTS.get(below) if root in OUTPUT_ROOTS else MOVED.get(name)


def gone_because(name: str) -> str | None:
    """What to do about a key of the earlier system that has no successor; None if it is no such key."""
    return REMOVED.get(name) or (REMOVED["hydra"] if name.startswith("hydra.") else None)


def for_old_key(path: Sequence[str | int], node: Node) -> Iterator[Problem]:
    """Problems for a key of the earlier system: one for each setting below it; none if it is not such a key."""
    name = dotted(path)
    moved = moved_to(name)
    if moved is not None:
        yield at(node, OLD[0], path=name, remedy=f"write {moved} instead{_NOTES.get(name, '')}")
    elif isinstance(node.value, dict) and node.value and _is_old_section(name):
        for key, child in node.value.items():
            below = list(for_old_key((*path, key), child))
            yield from below or [_unknown_below(path, key, child)]
    elif (gone := gone_because(name)) is not None:
        yield at(node, OLD[1], path=name, remedy=gone)
    elif path[0] in _SECTIONS and len(path) > 1:
        yield _unknown_below(path[:-1], str(path[-1]), node)
    elif path[0] in _SECTIONS:
        yield at(node, OLD[2], path=name, remedy=_SECTIONS[str(path[0])])


def _is_old_section(name: str) -> bool:
    root, _, below = name.partition(".")
    if root in OUTPUT_ROOTS:
        return not below or any(old.startswith(f"{below}.") for old in OUTPUTS)
    if root in UNDER_PIPELINE:
        return section_at(("pipeline", *name.split("."))) is not None
    return name in _SECTIONS or any(old.startswith(f"{name}.") for old in MOVED)


def _unknown_below(path: Sequence[str | int], key: str, node: Node) -> Problem:
    prefix = f"{dotted(path)}."
    outputs = [f"{path[0]}.{name}" for name in OUTPUTS] if path[0] in OUTPUT_ROOTS else []
    old = [name.removeprefix(prefix) for name in (*MOVED, *REMOVED, *outputs) if name.startswith(prefix)]
    near = nearest(key, old) if old else ""
    where = moved_to(prefix + near) or ""
    remedy = f"did you mean {prefix}{near}? It is {where} now" if where else _SECTIONS[str(path[0])]
    return at(node, "unknown key", path=prefix + key, remedy=remedy)


def for_prefixed(sign: str, name: str, value: str) -> str:
    """What to write for Hydra's `+key=value` (add) and `~key` (take away)."""
    if "/" in name or "@" in name:
        return f"write {name.lstrip('/')}={value}" if value else f"leave {name} out of the `defaults:` list"
    there = moved_to(name) or name
    field = field_at(there.split("."))
    if field is None:
        return gone_because(name) or f"there is no {name}: did you mean {_nearest_to(name.split('.'))}?"
    if sign.startswith("+"):
        value = "NAME" if there.endswith("kernel_name") and value.isdigit() else value
        return f"write {there}={value}{_NOTES.get(name, '')}"
    if section_of(field) is None and allows_null(field):
        return f"a value is taken away with {there}=null"
    return f"leave {there} out: its default stands then"


def _nearest_to(path: Sequence[str]) -> str:
    section = section_at(path[:-1])
    if section is None:
        return nearest(dotted(path), all_settings())
    return nearest_key(path[-1], path[:-1], tuple(section.model_fields))


def for_dotted(path: Sequence[str | int], node: Node) -> Problem | None:
    """A key such as `pipeline.nsys.enable` in a file, which YAML takes as one word; None where there are no dots."""
    name = path[-1]
    if not isinstance(name, str) or "." not in name or not node.source.is_file:
        return None
    meant = (moved_to(dotted(path)) or dotted(path)).split(".")
    if field_at(meant) is None:
        meant = nearest(dotted(path), all_settings()).split(".")
    value = node.plain()
    shown: object = value
    for part in reversed(meant):
        shown = {part: shown}
    assert isinstance(shown, dict)
    remedy = f"write the sections one below the other: {flow(shown)[1:-1]}"
    return at(node, "dots do not go down into sections in YAML", path=dotted(path), remedy=remedy)


def for_value(path: Sequence[str | int]) -> tuple[str, str] | None:
    """Message and remedy for settings whose mistakes deserve their own words."""
    if tuple(path) == ("infer", "max_new_tokens"):
        return (
            "must be an integer of at least 1",
            "give a large integer, say 8192, and let the end-of-sequence token stop generation",
        )
    if tuple(path) == ("device",):
        return "must be auto, cpu, cuda or cuda:N", "for example cuda:0"
    return None


def nearest_key(name: str, parents: Sequence[str | int], siblings: Sequence[str]) -> str:
    """The valid key most likely meant, with its whole path: a sibling, or the same word elsewhere."""
    prefix = dotted(parents) + "." if parents else ""
    near = nearest(name, siblings) if siblings else ""
    if near and is_near(name, near):
        return prefix + near
    elsewhere = [key for key in all_settings() if key.rpartition(".")[2] == name]
    if elsewhere:
        return elsewhere[0]
    return prefix + near
