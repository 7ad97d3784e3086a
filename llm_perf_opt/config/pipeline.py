"""`pipeline`: a section for each stage and observer of the registry, each validated by the model it declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, ValidationError, ValidationInfo, create_model, field_validator, model_validator
from pydantic_core import InitErrorDetails

from llm_perf_opt.config.base import Settings, StageSettings, Strings, inconsistent
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.registry import STAGES, Component

T = TypeVar("T")
PLUGINS_AS_WRITTEN = {"plugins": "as written"}
"""Validation context of a run that is read, not run: its plug-ins may be gone by now."""


class WorkloadCommand(Settings):
    """What nsys and ncu launch instead of llmperf's own workload."""

    module: str | None = None
    """Python module, run as `python -m MODULE`."""
    command: Strings | None = None
    """Command and its arguments."""

    @model_validator(mode="after")
    def _one_of(self) -> WorkloadCommand:
        if self.module is not None and self.command is not None:
            raise inconsistent("command", "module and command are both set", "keep one of them")
        return self

    @property
    def foreign(self) -> bool:
        """Whether it is somebody else's program."""
        return self.module is not None or self.command is not None


class PipelineSections(Settings):
    """The stages, in the order they run, and the observers that watch them."""

    if TYPE_CHECKING:
        workload: WorkloadCommand = WorkloadCommand()
        plugins: Mapping[str, StageSettings] = {}

        def __getattr__(self, name: str) -> Any: ...  # the sections of the registry

    def items(self) -> Iterator[tuple[str, StageSettings]]:
        """Every section by its name, the built-in ones in their order, then plug-ins as they are written."""
        for name in STAGES.builtin():
            yield name, getattr(self, name)
        yield from self.plugins.items()

    def section(self, name: str) -> StageSettings:
        """The section of a stage or observer; KeyError where there is none."""
        return dict(self.items())[name]

    def first(self, kind: type[T]) -> T:
        """The first section of a kind; LookupError where there is none."""
        for _, settings in self.items():
            if isinstance(settings, kind):
                return settings
        raise LookupError(f"no section is a {kind.__name__}")

    @field_validator("plugins", mode="before", check_fields=False)
    @classmethod
    def _own_models(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict) or info.context == PLUGINS_AS_WRITTEN:
            return value
        return validated_plugins({name: section for name, section in value.items() if section is not None})


def validated_plugins(sections: Mapping[str, Any]) -> dict[str, StageSettings]:
    """The sections of plug-ins, each by the model of its own.

    Raises:
        ValidationError: one is not installed, or its settings are wrong.
        MissingError: one cannot be imported.
    """
    models: dict[str, type[StageSettings]] = {}
    errors: list[InitErrorDetails] = []
    for name, section in sections.items():
        try:
            models[name] = plugin_settings(name)
        except ConfigError as error:
            message = error.message.removeprefix(f"pipeline.plugins.{name}: ")
            words = inconsistent(name, message, error.remedy)
            errors.append(InitErrorDetails(type=words, loc=(), input=section))
    if errors:
        raise ValidationError.from_exception_data("plugins", errors)
    fields: dict[str, Any] = {name: (model, ...) for name, model in models.items()}
    found = create_model("Plugins", __base__=Settings, **fields).model_validate(dict(sections))
    return {name: getattr(found, name) for name in models}


def plugin_settings(name: str) -> type[StageSettings]:
    """The settings model of an installed plug-in.

    Raises:
        ConfigError, MissingError: it is not there, or unusable.
    """
    model = STAGES.get_third_party(name, Component).settings
    if not issubclass(model, StageSettings):
        raise ConfigError(
            f"pipeline.plugins.{name}: its settings are no llm_perf_opt.config.base.StageSettings",
            "ask its author to derive them from it",
        )
    return model


def _sections() -> dict[str, Any]:
    found: dict[str, Any] = {
        name: (component.settings, Field(default_factory=component.settings))
        for name, component in STAGES.all(Component)
    }
    return {
        **found,
        "workload": (WorkloadCommand, Field(default_factory=WorkloadCommand)),
        "plugins": (dict[str, Any], Field(default_factory=dict)),
    }


TEXTS = {
    "workload": "What nsys and ncu launch instead of llmperf's own workload.",
    "plugins": "Third-party stages and their settings, loaded only when named here.",
}
"""Descriptions of the keys that are no section of the registry's."""

if TYPE_CHECKING:

    class Pipeline(PipelineSections): ...
else:
    Pipeline = create_model(
        "Pipeline", __base__=PipelineSections, __doc__=PipelineSections.__doc__, __module__=__name__, **_sections()
    )
