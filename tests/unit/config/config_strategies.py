"""Random configurations and random documents."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from llm_perf_opt.config.keys import choices, section_of, walk
from llm_perf_opt.config.schema import Config

# What YAML can hold, less what a configuration reads in its own way (`${…}`, blank values).
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="$"), min_size=1)
_SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "artifacts.run_id": st.sampled_from(["first", "2026-11-22", "..x", None]),
    "parallel.tensor": st.sampled_from([1, 2, 8]),
    "parallel.rendezvous": st.sampled_from(["node-0:29500", "10.0.0.1:1", None]),
    "device": st.sampled_from(["auto", "cpu", "cuda", "cuda:3"]),
    "pipeline.nsys.nvtx_capture": st.sampled_from(["decode", "prefill@*", None]),
    "pipeline.nsys.capture_range_end": st.sampled_from(["stop", "repeat:2", None]),
    "dataset.synthetic.images": st.lists(st.sampled_from(["1x1", "672x1024"]), max_size=3),
    "pipeline.plugins": st.just({}),  # only what is installed can be named: test_plugins.py
}
for _path in ("model.path", "dataset.root", "dataset.subset_filelist", "artifacts.runs_dir"):
    _SPECIAL[_path] = st.sampled_from(["/a/b", "/data/x y", "/ü"])


def valid_settings() -> st.SearchStrategy[dict[str, Any]]:
    """Valid settings: any subset of the keys, each with a valid value; contradictions are put right."""
    return _section(Config, "").map(_consistent)


def _section(model: type[Any], prefix: str) -> st.SearchStrategy[dict[str, Any]]:
    fields = {}
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        below = section_of(field)
        if below is not None:
            fields[name] = _section(below, f"{path}.")
        else:
            fields[name] = _SPECIAL[path] if path in _SPECIAL else value_of(field)
    return st.fixed_dictionaries({}, optional=fields)


def value_of(field: FieldInfo) -> st.SearchStrategy[Any]:
    """Valid values of one setting."""
    return _of(field.annotation, tuple(field.metadata))


def _of(annotation: Any, metadata: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    arguments = get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        inner = tuple(part for item in annotation.__metadata__ for part in getattr(item, "metadata", (item,)))
        return _of(annotation.__origin__, (*metadata, *inner))
    if get_origin(annotation) is Literal:
        return st.sampled_from(arguments)
    if get_origin(annotation) is tuple:
        return st.lists(_of(arguments[0]), min_size=1, max_size=3)
    if arguments:
        return st.one_of([_of(part, metadata) for part in arguments])
    least = next((int(str(item.ge)) for item in metadata if isinstance(item, Ge)), 0)
    most = next((float(str(item.le)) for item in metadata if isinstance(item, Le)), 1e9)
    above = any(isinstance(item, Gt) for item in metadata)
    return {
        bool: st.booleans(),
        str: TEXT,
        type(None): st.none(),
        int: st.integers(least, 10**9),
        float: st.floats(min_value=1e-6 if above else 0.0, max_value=most),
    }[annotation]


def _consistent(values: dict[str, Any]) -> dict[str, Any]:
    infer = values.get("infer", {})
    if infer.get("do_sample"):
        infer["temperature"] = 0.7
    if infer.get("context_len_mode") == "fixed":
        infer["context_len_fixed"] = 128
    parallel = values.get("parallel", {})
    if parallel.get("tensor", 1) % parallel.get("nodes", 1):
        parallel["nodes"] = parallel.get("tensor", 1)
    if parallel.get("tensor", 1) > 1:
        infer.pop("execution", None)
        values.pop("device", None)
    pipeline = values.get("pipeline", {})
    torch_profiler = pipeline.get("torch_profiler", {})
    if torch_profiler.get("group_by_input_shape"):
        torch_profiler["record_shapes"] = True
    nsys = pipeline.get("nsys", {})
    if nsys.get("capture_range") == "nvtx":
        nsys["nvtx_capture"] = "decode"
    pipeline.get("workload", {}).pop("module", None)
    return values


_KEYS = sorted({name for path, _ in walk() for name in path})
_WORDS = st.sampled_from(
    [*_KEYS, "defaults", "_self_", "run", "hydra", "outputs", "enabled", "<<", "&a", "*a", "!!x", "${a}", "-", "?", ":"]
)
_SCALAR = st.one_of(
    _WORDS,
    st.sampled_from(["null", "true", "3", "-1", "1.5", ".inf", "[]", "{}", "'", '"', "[", "}", "\t", "#", "|", ">"]),
    st.text(max_size=8),
    st.sampled_from(sorted({word for _, field in walk() for word in choices(field.annotation)})),
)


def documents() -> st.SearchStrategy[str]:
    """Text that looks like a configuration more or less: keys and values at random indentation, and plain noise."""
    line = st.tuples(st.integers(0, 4), _WORDS | st.text(max_size=5), st.sampled_from([": ", ":", " "]), _SCALAR).map(
        lambda parts: f"{'  ' * parts[0]}{parts[1]}{parts[2]}{parts[3]}"
    )
    item = st.tuples(st.integers(0, 4), _SCALAR).map(lambda parts: f"{'  ' * parts[0]}- {parts[1]}")
    lines = st.lists(line | item, max_size=12).map("\n".join)
    return lines | st.text(max_size=60)
