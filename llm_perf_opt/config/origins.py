"""What set each value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from llm_perf_opt.config.keys import all_settings, section_of, walk
from llm_perf_opt.config.schema import Config
from llm_perf_opt.config.tree import Kind, Node


class Origin(NamedTuple):
    """What set a value: its kind, the name of that (file, variable, override, option), and the line in a file."""

    kind: Kind
    name: str = ""
    line: int = 0

    def __str__(self) -> str:
        if self.kind == "default":
            return "default"
        place = f"{self.name}:{self.line}" if self.kind in ("preset", "config") else self.name
        return f"{self.kind} {place}"


_DEFAULT = Origin("default")


class Origins(Mapping[str, Origin]):
    """Dotted path of every setting → what set it; looked up when asked for."""

    def __init__(self, config: Config, tree: Node) -> None:
        self._config = config
        self._tree = tree

    def _paths(self) -> tuple[str, ...]:
        plugins = (
            path
            for name, settings in self._config.pipeline.plugins.items()
            for path, field in walk(type(settings), ("pipeline", "plugins", name))
            if section_of(field) is None
        )
        return (*(path for path in all_settings() if path != "pipeline.plugins"), *map(".".join, plugins))

    def __getitem__(self, path: str) -> Origin:
        if path not in self._paths():
            raise KeyError(path)
        node: Node | None = self._tree
        for part in path.split("."):
            node = node.child(part) if node is not None else None
        if node is None:
            return _DEFAULT
        return Origin(node.source.kind, node.source.name, node.place[0] if node.source.is_file else 0)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths())

    def __len__(self) -> int:
        return len(self._paths())
