"""`llmperf config init`: a commented configuration to start from."""

from __future__ import annotations

from collections.abc import Collection

from llm_perf_opt.config.describe import Description, descriptions
from llm_perf_opt.config.emit import flow
from llm_perf_opt.config.presets import Presets, usual_mount
from llm_perf_opt.registry import STAGES, Component

SCHEMA_FILE = "llmperf.schema.json"

_OCR_FAMILY = ("demo", "deepseek_ocr", "deepseek_ocr2")
_COMMON = (
    "infer.max_new_tokens",
    "infer.batch_size",
    "measure.warmup",
    "measure.repeats",
    "artifacts.runs_dir",
)


def stage_words() -> dict[str, str]:
    """Name on the command line → section of the pipeline, of what is either on or off."""
    found = ((component.short, name, component.settings) for name, component in STAGES.all(Component))
    return {short: name for short, name, model in found if short and isinstance(model().enable, bool)}


def models(presets: Presets) -> tuple[str, ...]:
    """Models that have an `arch` preset."""
    return tuple(
        group.split("/")[1] for group in presets.groups() if group.startswith("model/") and group.endswith("/arch")
    )


def starter(model: str, stages: Collection[str], presets: Presets) -> str:
    """The text of a starter: presets for the model, what must be filled in, and which stages run."""
    settings = {item.name: item for item in descriptions()}
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        "# The line above makes an editor with a YAML language server complete and check this file, once",
        f"#   llmperf config schema > {SCHEMA_FILE}",
        "# has put the schema beside it. `llmperf config validate` checks it on the command line;",
        "# `llmperf config show --origins` shows every setting and what set it.",
        "",
        "defaults:  # presets, each laid over those before it; `llmperf config presets` lists them",
        *(f"  - {entry}" for entry in _defaults(model, presets)),
        "  - _self_  # the keys of this file",
        "",
        _setting(settings["experiment"], model),
        _setting(settings["device"], "auto"),
        "",
        *_model(model, settings),
        *_dataset(model, settings),
        "# Change what you need; the value shown is the one the presets give.",
    ]
    lines += _commented(settings, presets, model)
    lines += ["", "pipeline:"]
    for name, section in stage_words().items():
        text = settings[f"pipeline.{section}"].text
        lines += [f"  {section}:", f"    enable: {flow(name in stages)}  # {text}"]
    return "\n".join(lines) + "\n"


def _defaults(model: str, presets: Presets) -> list[str]:
    entries = [f"dataset: {'demo_pages' if model == 'demo' else 'omnidocbench'}"] if _takes_images(model) else []
    entries.append("dataset/sampling@dataset.sampling: default")
    entries.append(f"model/{model}/arch@model: {_option(presets, f'model/{model}/arch', model)}")
    if presets.options(f"model/{model}/infer"):
        entries.append(f"model/{model}/infer@infer: {_option(presets, f'model/{model}/infer', model)}")
    for group in sorted(presets.groups(), key=_place):
        own = group.startswith("model/deepseek_ocr/output/") and model in _OCR_FAMILY
        if own or group.startswith(("output/", "profiling/")):
            default = next(option for option in presets.options(group) if option.endswith("default"))
            entries.append(f"{group}@{usual_mount(group)}: {default}")
    return entries


def _place(group: str) -> tuple[int, str]:
    """Presets of a stage together, in the order of the stages, what is mounted higher first."""
    mount = usual_mount(group)
    stage = mount.split(".")[1] if mount.startswith("pipeline.") else ""
    return (STAGES.builtin().index(stage) if stage in STAGES.builtin() else -1, mount)


def _option(presets: Presets, group: str, model: str) -> str:
    options = presets.options(group)
    return f"{model}.default" if f"{model}.default" in options else options[0]


def _takes_images(model: str) -> bool:
    return model != "causal_lm"


def _needs_path(model: str) -> bool:
    return model not in ("demo", "dummy_shallow_resnet")


def _model(model: str, settings: dict[str, Description]) -> list[str]:
    if not _needs_path(model):
        return []
    lines = ["model:", f"  path: models/{model}  # to fill in. {settings['model.path'].text}"]
    if model == "deepseek_ocr":
        lines.append("  " + _setting(settings["model.trust_remote_code"], False))
    return [*lines, ""]


def _dataset(model: str, settings: dict[str, Description]) -> list[str]:
    if model == "demo":
        return []
    if model == "causal_lm":
        return [
            "dataset:",
            "  " + _setting(settings["dataset.prompt"], "What is the capital of France?"),
            f"  # root: prompts  # {settings['dataset.root'].text}",
            "",
        ]
    return ["dataset:", "  name: pages", f"  root: datasets/pages  # to fill in. {settings['dataset.root'].text}", ""]


def _setting(item: Description, value: object) -> str:
    return f"{item.path[-1]}: {flow(value)}  # {item.text}"


def _commented(settings: dict[str, Description], presets: Presets, model: str) -> list[str]:
    """Common settings, commented out, with the values that the presets give."""
    from llm_perf_opt.config.dump import to_dict
    from llm_perf_opt.config.load import compose_text

    entries = "".join(f"  - {entry}\n" for entry in _defaults(model, presets))
    values = to_dict(compose_text(f"defaults:\n{entries}", "starter", presets))
    lines: list[str] = []
    section = ""
    for name in _COMMON:
        item = settings[name]
        if item.path[0] != section:
            section = item.path[0]
            lines.append(f"# {section}:")
        value = values[item.path[0]][item.path[1]]
        lines.append(f"#   {_setting(item, value)}")
    return lines
