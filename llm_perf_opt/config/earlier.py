"""What the earlier system wrote that is spelt otherwise now: values, interpolations, and presets of the same name.

Read by `migrate.py` alone.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import yaml

from llm_perf_opt.config.keys import field_at

PLENTY = 8192
"""Stands for the `inf` of old files: more tokens than any page has."""

FLAT: dict[str, str] = {
    "repeats": "measure.repeats",
    "max_new_tokens": "infer.max_new_tokens",
    "infer.dtype": "model.dtype",
    "infer.device": "device",
    "model.device": "device",
}
"""Keys that also somebody who never saw the earlier system might write: they move, but no message calls them old."""

_DTYPES = {
    **dict.fromkeys(("bf16", "bfloat16", "torch.bfloat16"), "bfloat16"),
    **dict.fromkeys(("fp16", "f16", "half", "float16", "torch.float16", "torch.half"), "float16"),
    **dict.fromkeys(("fp32", "f32", "float", "float32", "torch.float32", "torch.float"), "float32"),
}
# Null and an empty text were the same: the flag is not passed.
_BLANK_IS_NULL = (
    "pipeline.nsys.capture_range_end",
    "pipeline.nsys.nvtx_capture",
    "pipeline.ncu.ncu_cli.nvtx.include",
    "pipeline.ncu.ncu_cli.set",
    "pipeline.ncu.ncu_cli.kernel_name",
    "dataset.subset_filelist",
)
_LISTS = ("pipeline.ncu.ncu_cli.metrics", "pipeline.ncu.ncu_cli.sections")
PATHS = ("model.path", "dataset.root", "dataset.subset_filelist", "artifacts.runs_dir")


def value_now(name: str, value: Any) -> Any:
    """The value of the setting `name` as it is written now."""
    word = value.strip().lower() if isinstance(value, str) else value
    if name == "model.dtype" and isinstance(word, str):
        value = _DTYPES.get(word, value)
    elif name == "infer.no_repeat_ngram_size" and value == 0 and not isinstance(value, bool):
        value = None
    elif name == "infer.max_new_tokens" and str(word).lstrip(".+") in ("inf", "infinity"):
        value = PLENTY
    elif name in _BLANK_IS_NULL and word == "":
        value = None
    elif name in _LISTS and isinstance(word, str):
        value = [part.strip() for part in str(value).split(",") if part.strip()]
    return _of_its_kind(name, value)


def _of_its_kind(name: str, value: Any) -> Any:
    """A number or switch in quotes as one, and a number where a text belongs in quotes: nothing checked kinds then."""
    field = field_at(name.split("."))
    kinds = _kinds(field.annotation) if field is not None else set()
    if isinstance(value, str) and str not in kinds and kinds & {bool, int, float}:
        read = yaml.safe_load(value) if _PLAIN.fullmatch(value) else value
        return read if type(read) in kinds or (type(read) is int and float in kinds) else value
    if type(value) in (int, float) and str in kinds and type(value) not in kinds:
        return str(value)
    return value


def _kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation takes; empty for words to choose from and lists."""
    if annotation in (bool, int, float, str):
        return {annotation}
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return set().union(*(_kinds(part) for part in get_args(annotation)))
    return set()


class PresetValue(NamedTuple):
    """A key of an old preset, below where it is mounted, with what it was set to."""

    key: str
    value: Any


_KERNEL_BY_KERNEL = (PresetValue("ncu_cli.replay_mode", "kernel"),)
_PROMPT = PresetValue("decoder_prompt", "<image>\n<|grounding|>Convert the document to markdown.")
PRESET_VALUES: dict[tuple[str, str], tuple[PresetValue, ...]] = {
    ("dataset", "omnidocbench"): (
        PresetValue("root", "datasets/omnidocbench/source-data"),
        PresetValue("fallback_patterns", ["images/*.png", "images/*.jpg"]),
    ),
    ("model/deepseek_ocr/arch", "deepseek_ocr.default"): (PresetValue("path", "models/deepseek-ocr"),),
    ("model/deepseek_ocr/infer", "deepseek_ocr.default"): (PresetValue("context_len_fixed", 1024), _PROMPT),
    ("model/deepseek_ocr/infer", "deepseek_ocr.fast"): (
        PresetValue("max_new_tokens", 256),
        PresetValue("no_repeat_ngram_size", 0),
        _PROMPT,
    ),
    ("profiling/nsys", "nsys.default"): (PresetValue("nvtx_capture", "prefill"),),
    **{
        ("profiling/ncu", f"ncu.{name}"): _KERNEL_BY_KERNEL
        for name in ("default", "high", "rtx3090", "rtx3090.compute", "rtx3090.memory")
    },
}
"""Where a preset of ours has the name of an old one, what the old one set otherwise."""

_PLAIN = re.compile(r"[-+]?[1-9]\d{0,17}|0|[-+]?\d+\.\d*|true|false|yes|no|on|off", re.IGNORECASE)
_CWD = re.compile(r"\$\{(?:hydra:runtime\.cwd|oc\.env:PWD)\}")
_HOME = re.compile(r"^\$\{oc\.env:HOME\}(?=/|$)")
_TIME_FOLDERS = re.compile(r"(?:(?:^|/)\$\{now:[^}]*\})+/?$")
_REFERENCE = re.compile(r"\$\{\s*([A-Za-z_][\w.]*)\s*\}")
_VARIABLE = re.compile(r"\$\{oc\.env:\s*([A-Za-z_]\w*)")


class Unresolved(Exception):
    """An interpolation that nothing can be made of; the text says why."""


def resolved(name: str, text: str, look_up: Callable[[str], Any]) -> Any:
    """The value of `text`, written for the setting `name`, without its interpolations.

    Args:
        look_up: the value of another key; raises `Unresolved`.

    Raises:
        Unresolved: what it stands for is not known before the run.
    """
    if name in PATHS or name.endswith(".save_dir"):
        text = _HOME.sub("~", text)
    if name in PATHS:  # a relative one starts at the directory llmperf runs in
        text = "." if _CWD.fullmatch(text) else re.sub(rf"^{_CWD.pattern}/+", "", text)
    if name == "artifacts.runs_dir":
        text = _TIME_FOLDERS.sub("", text) or "."
    whole = _REFERENCE.fullmatch(text)
    if whole is not None:
        return look_up(whole[1])
    text = _REFERENCE.sub(lambda found: _word(found[1], look_up), text)
    if "${" not in text:
        return text
    if _CWD.search(text):
        raise Unresolved("it is not relative to the directory llmperf runs in: write the absolute path")
    variable = _VARIABLE.search(text)
    if variable is not None:
        own = "LLMPERF_" + name.upper().replace(".", "__")
        raise Unresolved(f"it depends on the environment variable {variable[1]}: set {own} from it")
    raise Unresolved("`${…}` is not interpolated")


def _word(name: str, look_up: Callable[[str], Any]) -> str:
    value = look_up(name)
    if not isinstance(value, (str, int, float)):
        raise Unresolved(f"${{{name}}} is no single word")
    return str(value)
