"""From a file, the environment, overrides and options to one validated configuration.

Weakest to strongest: schema defaults, the `defaults:` list in order (the file's own keys at `_self_`),
`LLMPERF_…` environment variables, dotted overrides, command-line options. Loading reads YAML files and
nothing else: no network, no GPU, no torch import, no change to the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from llm_perf_opt.config.aliases import rewrite_aliases
from llm_perf_opt.config.base import Prediction, StageSettings, TimedSettings, Visualization
from llm_perf_opt.config.check import build
from llm_perf_opt.config.compose import Entry, choose, load_layers, read_defaults
from llm_perf_opt.config.origins import Origin, Origins
from llm_perf_opt.config.overrides import read_overrides
from llm_perf_opt.config.pipeline import Pipeline
from llm_perf_opt.config.presets import ENTRY, Presets, presets
from llm_perf_opt.config.problems import InvalidConfig, Problem
from llm_perf_opt.config.reader import read_file, read_mapping
from llm_perf_opt.config.schema import Config
from llm_perf_opt.config.tree import Node, Source, from_plain, merge, mount
from llm_perf_opt.errors import ConfigError

RESERVED = {
    "LLMPERF_CONFIG_DIR": "Directories with presets of your own, separated like PATH; before the shipped ones.",
    "LLMPERF_NSYS": "The nsys executable to use.",
    "LLMPERF_NCU": "The ncu executable to use.",
    "LLMPERF_DEBUG": "`1` shows the traceback of an error, like `--debug`.",
    "LLMPERF_SHARED": "Where the tests find recorded profiler output.",
}
"""Environment variables that are not settings, and what they are for."""

# Where the layers stand in a list of errors; presets come first, in the order of the `defaults:` list.
_ENTRY_RANK, _FILE_RANK, _ENVIRONMENT_RANK, _OVERRIDE_RANK, _OPTION_RANK = 900, 1_000, 2_000, 3_000, 1_000_000


@dataclass(frozen=True)
class Loaded:
    """A configuration and where it comes from."""

    config: Config
    origins: Mapping[str, Origin]
    """Dotted path of every setting → what set it."""
    notes: tuple[str, ...] = ()
    """What the reader should know, one line each (old keys that were understood)."""


def load_config(
    path: Path | None = None,
    overrides: Sequence[str] = (),
    *,
    options: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    config_dirs: Sequence[Path] = (),
) -> Loaded:
    """Compose, merge and validate.

    Args:
        path: the user's file, or a model as `model.path` takes it; None takes the shipped entry file.
        overrides: `dotted.path=value` (YAML values) and `group@mount=option`, the last one strongest.
        options: dotted path → value of command-line options; stronger than all else.
        environ: environment to read `LLMPERF_…` from; None is the process's own.
        cwd: directory that relative paths start at; None is the process's own.
        config_dirs: directories with presets of the user's, before those of LLMPERF_CONFIG_DIR.

    Raises:
        InvalidConfig: with every mistake found.
        MissingError: the file, or a directory of presets, does not exist.
    """
    environ = os.environ if environ is None else environ
    _check_text(overrides, options or {}, environ, cwd)
    found = presets(config_dirs, environ)
    problems: list[Problem] = []
    if path is not None and is_model(path):
        path, options = None, {"model.path": str(path), **(options or {})}
    chosen = read_overrides(overrides, found, problems, _OVERRIDE_RANK)
    stronger = [*_environment(environ, problems), *chosen.layers, *_options(options or {})]
    layers, notes = _old_outputs(
        [*_file_layers(_read_root(path, problems), found, chosen.entries, problems, stronger), *stronger]
    )
    tree = reduce(merge, [rewrite_aliases(layer, problems) for layer in layers])
    config = build(tree, problems)
    return Loaded(_absolute(config, Path.cwd() if cwd is None else cwd), Origins(config, tree), notes)


def _check_text(
    overrides: Sequence[str], options: Mapping[str, object], environ: Mapping[str, str], cwd: Path | None
) -> None:
    """Refuse settings that are no text: the configuration is written down, and files of a run are UTF-8.

    Raises:
        ConfigError: with the place and the value.
    """
    given = [("the override", text) for text in overrides]
    # Relative paths begin with it.
    given += [("the directory llmperf was started in,", str(Path.cwd() if cwd is None else cwd))]
    for name, value in options.items():
        values = value if isinstance(value, list | tuple) else [value]
        given += [(name, text) for text in values if isinstance(text, str)]
    given += [(name, text) for name, text in environ.items() if name.startswith("LLMPERF_") and name not in RESERVED]
    for place, text in given:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(f"{place} {text!a} is not UTF-8", "rename what it names, or use a link to it") from error


def compose_text(text: str, name: str, found: Presets) -> Config:
    """The configuration of a file's text and the presets alone.

    Raises:
        InvalidConfig: with every mistake found.
    """
    problems: list[Problem] = []
    root = read_mapping(text, Source("config", name, text, _FILE_RANK), problems)
    if root is None:
        raise InvalidConfig(problems)
    layers = _file_layers(root, found, (), problems)
    return build(reduce(merge, [rewrite_aliases(layer, problems) for layer in layers]), problems)


def _read_root(path: Path | None, problems: list[Problem]) -> Node | None:
    if path is None:
        return None
    root = read_file(path, problems, rank=_FILE_RANK)
    if root is None:
        raise InvalidConfig(problems)
    return root


def is_model(path: Path) -> bool:
    """Whether the first argument of a command is a model: a directory, a `config.json` or a `.gguf` file."""
    return path.suffix in (".gguf", ".json") or (path.is_dir() and path.suffix not in (".yaml", ".yml"))


def _file_layers(
    root: Node | None,
    found: Presets,
    chosen: Sequence[Entry],
    problems: list[Problem],
    stronger: Sequence[Node] = (),
) -> list[Node]:
    """The layers of the user's file: its own list, or the entry file's with the file laid over it.

    What the entry file lists for the demo alone is left out where a layer names a model by its path; what it
    says of the demo's model, where one names another model in any way.

    Args:
        stronger: the layers that come after these.
    """
    if root is not None and root.child("defaults") is not None:
        entries = choose(read_defaults(root, problems), chosen)
        return load_layers(entries, _own_keys(root), found, problems)
    overlay = [] if root is None else [root]
    file = found.directories[-1] / ENTRY
    entry = read_file(file, problems, found.name(file), preset=True, rank=_ENTRY_RANK)
    assert entry is not None
    listed = read_defaults(entry, problems)
    # An entry of the same group and mount that the user chose is the user's, and another object.
    layers = [
        (each in listed and _is_of_demo(each), each, layer)
        for rank, each in enumerate(choose(listed, chosen))
        for layer in load_layers([each], _own_keys(entry), found, problems, rank)
    ]
    others = [*(layer for is_demo, _, layer in layers if not is_demo), *overlay, *stronger]
    has_path = any(_names(layer, "path") for layer in others)
    named = next(filter(None, (_names(layer, "name") for layer in reversed(others))), None)
    is_demos = not has_path and named in (None, "auto", "demo")
    kept = (
        layer
        for is_demo, each, layer in layers
        if not is_demo or is_demos or not (has_path or each.group.startswith("model/"))
    )
    return [*kept, *overlay]


def _is_of_demo(entry: Entry) -> bool:
    return entry.group.startswith("model/demo/") or entry.option in ("demo", "demo_pages")


def _own_keys(root: Node) -> Node:
    assert isinstance(root.value, dict)
    return root.with_value({key: node for key, node in root.value.items() if key != "defaults"})


def _names(layer: Node, key: str) -> object:
    model = layer.child("model")
    named = None if model is None else model.child(key)
    return None if named is None else named.value


def _environment(environ: Mapping[str, str], problems: list[Problem]) -> list[Node]:
    names = [name for name in environ if name.startswith("LLMPERF_") and name not in RESERVED]
    if not names:
        return []
    from llm_perf_opt.config.environment import read_environment

    return read_environment(environ, names, problems, _ENVIRONMENT_RANK)


def _options(options: Mapping[str, object]) -> list[Node]:
    layers = []
    for number, (dotted_path, value) in enumerate(options.items()):
        source = Source("option", dotted_path, None, _OPTION_RANK + number)
        layers.append(mount(from_plain(value, source), dotted_path.split(".")))
    return layers


def _old_outputs(layers: list[Node]) -> tuple[list[Node], tuple[str, ...]]:
    """Root `outputs` and `output` of the earlier system; goes when `legacy.py` goes."""
    if not any(layer.child("outputs") or layer.child("output") for layer in layers):
        return layers, ()
    from llm_perf_opt.config import legacy

    return legacy.read_layers(layers)


def _absolute(config: Config, cwd: Path) -> Config:
    """Relative paths made absolute against the directory llmperf was started in."""

    def absolute(text: str | None) -> str | None:
        return None if text is None else os.path.normpath(cwd / os.path.expanduser(text))  # noqa: PTH111 - Path raises for an unknown user

    root = absolute(config.dataset.root)
    listed = config.dataset.subset_filelist
    runs_dir = absolute(config.artifacts.runs_dir)
    assert runs_dir is not None
    return config.model_copy(
        update={
            "model": config.model.model_copy(update={"path": absolute(config.model.path)}),
            "dataset": config.dataset.model_copy(update={"root": root, "subset_filelist": absolute(listed)}),
            "artifacts": config.artifacts.model_copy(update={"runs_dir": runs_dir}),
            "pipeline": _with_home(config.pipeline),
        }
    )


def _with_home(pipeline: Pipeline) -> Pipeline:
    """`~` in the folders of outputs expanded; relative ones stay, as they start at the stage's own directory."""
    changed: dict[str, StageSettings] = {}
    for name, settings in pipeline.items():
        if isinstance(settings, TimedSettings):
            parts: dict[str, Prediction | Visualization] = {
                "prediction": settings.output.prediction,
                "visualization": settings.output.visualization,
            }
            homes = {
                key: part.model_copy(update={"save_dir": os.path.expanduser(part.save_dir)})  # noqa: PTH111 - as above
                for key, part in parts.items()
                if part.save_dir is not None and part.save_dir.startswith("~")
            }
            if homes:
                changed[name] = settings.model_copy(update={"output": settings.output.model_copy(update=homes)})
    if not changed:
        return pipeline
    plugins = {name: changed.pop(name, settings) for name, settings in pipeline.plugins.items()}
    return pipeline.model_copy(update={**changed, "plugins": plugins})
