"""Where everything that can be added is found: a name, the `module:attribute` behind it, imported when it is asked for.

The foundation that configuration and runner both stand on: it imports no room. A room says here where its extensions
are; what an extension is, its own room says (`stages.base`, `workload.adapter`, …).
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.nearest import nearest

T = TypeVar("T")
PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class Component:
    """What has a section under `pipeline`, with an `enable` key: a stage, or an observer of stages."""

    settings: type[Any]
    """The model of its section."""
    records: Mapping[str, str] = field(default_factory=dict)
    """What it leaves: file below the stage's directory (`*` for any part of a name) → `module:Type` with a classmethod
    `read(path)`."""
    short: str | None = None
    """Its word on the command line: `--nsys` where it is off unless asked for, `--no-static` where it is on."""


@dataclass(frozen=True)
class Loaded:
    """A third party's extension that was loaded."""

    kind: str
    name: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Registry:
    """One kind of extension.

    Args:
        kind: what one is called in messages.
        attribute: what its module exports.
        modules: the built-in ones in their order, named by the last part of the module's name.
        package: the built-in ones are the modules of this package, without being listed anywhere.
        group: entry point group of third parties; they are loaded only when named, and no name of a built-in one is
            theirs.
        key: where a name stands in the configuration, for messages.
        names_third_party_only: it stands there for third parties' alone.
    """

    kind: str
    attribute: str
    modules: Sequence[str] = ()
    package: str | None = None
    group: str | None = None
    key: str = ""
    names_third_party_only: bool = False

    def builtin(self) -> tuple[str, ...]:
        """Names of the built-in ones."""
        return tuple(self._builtin)

    @cached_property
    def _builtin(self) -> dict[str, str]:
        modules = list(self.modules)
        if self.package is not None:
            spec = importlib.util.find_spec(self.package)
            assert spec is not None
            found = sorted(module.name for module in pkgutil.iter_modules(spec.submodule_search_locations))
            modules += [f"{self.package}.{name}" for name in found]
        return {module.rpartition(".")[2]: module for module in modules}

    def third_party(self) -> dict[str, list[EntryPoint]]:
        """What installed distributions offer, by name, whether or not it can be loaded."""
        offered: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group) if self.group is not None else ():
            offered.setdefault(point.name, []).append(point)
        return offered

    def all(self, expected: type[T]) -> Iterator[tuple[str, T]]:
        """The built-in ones with their names, in order."""
        for name in self._builtin:
            yield name, self.get(name, expected)

    def get(self, name: str, expected: type[T]) -> T:
        """The extension called `name`; a built-in one is always the one meant by its name.

        Raises:
            ConfigError: there is none of that name, or it is not what this registry holds.
            MissingError: it cannot be imported.
        """
        if name in self._builtin:
            return _checked(load(f"{self._builtin[name]}:{self.attribute}"), expected, f"{self.kind} {name!r}")
        return self.get_third_party(name, expected)

    def get_third_party(self, name: str, expected: type[T]) -> T:
        """The extension called `name` of an installed distribution.

        Raises:
            ConfigError: none is installed, several are, it has the name of a built-in one, or it is none.
            MissingError: it cannot be imported.
        """
        points = self.third_party().get(name, [])
        where = f"{self.key}{name}"
        if name in self._builtin and points:
            raise ConfigError(
                f"{where}: {owner(points[0])} offers a {self.kind} of that name, which is a built-in one's",
                "a built-in one cannot be replaced: ask its author for another name, or uninstall it",
            )
        if not points:
            none = "no installed package offers" if self.names_third_party_only else "there is no"
            article = " a" if self.names_third_party_only else ""
            raise ConfigError(f"{where}: {none}{article} {self.kind} of that name", self._remedy(name))
        if len(points) > 1:
            both = " and ".join(sorted(owner(point) for point in points))
            raise ConfigError(f"{where}: {both} offer a {self.kind} of that name", "uninstall all but one of them")
        return _load_third_party(self.kind, where, points[0], expected)

    def _remedy(self, name: str) -> str:
        names = sorted(self.third_party() if self.names_third_party_only else {*self._builtin, *self.third_party()})
        known = f"did you mean {nearest(name, names)}? there are {', '.join(names)}" if names else "none is installed"
        return f"{known}; third parties offer them in the entry point group {self.group}"


_LOADED: dict[tuple[str, str], tuple[Any, Loaded]] = {}


def loaded_third_party() -> tuple[Loaded, ...]:
    """Every third party's extension that this process has loaded, in the order of loading."""
    return tuple(entry for _, entry in _LOADED.values())


def _load_third_party(kind: str, where: str, point: EntryPoint, expected: type[T]) -> T:
    key = (kind, f"{point.name}={point.value}")
    if key not in _LOADED:
        try:
            found = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise MissingError(
                f"{where}: {kind} {point.name!r} of {owner(point)} cannot be imported: {type(error).__name__}: {error}",
                f"repair it, or uninstall it, or remove the name {point.name}",
            ) from error
        _checked(found, expected, f"{where}: {point.value} of {owner(point)}")
        name, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")
        _LOADED[key] = found, Loaded(kind, point.name, name, version)
    return _checked(_LOADED[key][0], expected, f"{where}: {point.value}")


def owner(point: EntryPoint) -> str:
    """The distribution of an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"


def _checked(found: object, expected: type[T], what: str) -> T:
    if not isinstance(found, expected):
        raise ConfigError(f"{what} is no {expected.__module__}.{expected.__qualname__}", "see docs/extending")
    return found


def load(reference: str) -> Any:
    """The object behind `module:attribute`."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


def resolved(function: str | Callable[..., T]) -> Callable[..., T]:
    """A function given as itself or, where importing it costs something, as `module:function`."""
    return load(function) if isinstance(function, str) else function


def reference_to(found: Callable[..., Any]) -> str:
    """The `module:attribute` of a class or function."""
    return f"{found.__module__}:{found.__qualname__}"


STAGES = Registry(
    kind="stage",
    attribute="STAGE",
    modules=(
        f"{PACKAGE}.stages.static_analysis",
        f"{PACKAGE}.stages.torch_profiler",
        f"{PACKAGE}.stages.direct_inference",
        f"{PACKAGE}.stages.memory",
        f"{PACKAGE}.stages.nsys",
        f"{PACKAGE}.stages.ncu",
        f"{PACKAGE}.stages.nvml",
        f"{PACKAGE}.stages.machine",
    ),
    group="llmperf.stages",
    key="pipeline.plugins.",
    names_third_party_only=True,
)
"""Stages in the order they run, then the observers that watch them."""

ADAPTERS = Registry(
    kind="model adapter",
    attribute="ADAPTER",
    package=f"{PACKAGE}.workload.adapters",
    group="llmperf.adapters",
    key="model.name: ",
)
IMPORTERS = Registry(kind="importer", attribute="IMPORTER", package=f"{PACKAGE}.importing.importers", group=None)
SECTIONS = Registry(
    kind="report section", attribute="SECTION", package=f"{PACKAGE}.reports.sections", group="llmperf.sections"
)
FAMILIES = Registry(kind="static family", attribute="FAMILIES", package=f"{PACKAGE}.analysis.static.families")
ADVICE = Registry(kind="family of advice rules", attribute="RULES", package=f"{PACKAGE}.analysis.advice.rules")


def stages_leaving(record: type[Any]) -> list[str]:
    """The built-in stages that leave records of this type, in order."""
    wanted = reference_to(record)
    return [name for name, component in STAGES.all(Component) if wanted in component.records.values()]


def stage_leaving(record: type[Any]) -> str:
    """The first of them.

    Raises:
        LookupError: there is none.
    """
    for name in stages_leaving(record):
        return name
    raise LookupError(f"no built-in stage leaves {reference_to(record)}")
