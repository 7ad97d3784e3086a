"""Options that turn a stage or an observer on or off, one for each that declares a word for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar

import typer

from llm_perf_opt.registry import STAGES, Component

F = TypeVar("F", bound=Callable[..., None])
PANEL = "Stages"


class Toggle(NamedTuple):
    """`--nsys` for what is off unless asked for, `--no-static` for what is on."""

    parameter: str
    option: str
    section: str
    turns_on: bool
    help: str


def toggles() -> Iterator[Toggle]:
    for name, component in STAGES.all(Component):
        if component.short is not None:
            turns_on = component.settings().enable is False
            word = component.short if turns_on else f"no-{component.short}"
            what = " ".join((component.settings.__doc__ or name).split("\n\n")[0].split()).rstrip(".")
            text = f"Add {name}: {what}." if turns_on else f"Leave out {name}: {what}."
            yield Toggle(word.replace("-", "_"), f"--{word}", f"pipeline.{name}", turns_on, text)


def with_toggles(command: F) -> F:
    """The command with the options of `toggles` in place of its `**toggles`."""
    signature = inspect.signature(command, eval_str=True)
    parameters = [found for found in signature.parameters.values() if found.kind is not found.VAR_KEYWORD]
    for toggle in toggles():
        option = typer.Option(toggle.option, help=toggle.help, rich_help_panel=PANEL)
        annotation: Any = Annotated[bool, option]
        added = inspect.Parameter(
            toggle.parameter, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation
        )
        parameters.append(added)
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {found.name: found.annotation for found in parameters}
    return command


def chosen_stages(given: Mapping[str, bool]) -> dict[str, object]:
    """What the options that were given set: dotted path → value."""
    return {f"{toggle.section}.enable": toggle.turns_on for toggle in toggles() if given[toggle.parameter]}
