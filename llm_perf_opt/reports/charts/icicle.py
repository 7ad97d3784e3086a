"""What lies in what, to go into: each level below the one around it, as wide as its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from llm_perf_opt.analysis.kernel_names import short_name
from llm_perf_opt.records.drill_down import KIND_KERNEL, KIND_RANGE, PATH_KINDS, DrillDown
from llm_perf_opt.reports.document import Chart, Paragraph, Table
from llm_perf_opt.reports.units import percent, significant

SHOWN = 25


@dataclass(frozen=True, kw_only=True)
class Icicle(Chart):
    """The paths of one capture, by time of the host or of the devices."""

    KIND: ClassVar[str] = "icicle"

    found: DrillDown

    def plain(self) -> tuple[Table | Paragraph, ...]:
        paths, names = self.found.paths, self.found.names
        by_device = any(paths.device_ns)
        weights = paths.device_ns if by_device else paths.host_ns
        total = sum(weight for weight, parent in zip(weights, paths.parent, strict=True) if parent < 0) or 1
        order = sorted(range(len(weights)), key=lambda row: (-weights[row], row))[:SHOWN]
        rows = tuple(
            (
                " › ".join(names[paths.name[at]] for at in self._way(row)),
                PATH_KINDS[paths.kind[row]],
                f"{paths.calls[row]:,}",
                significant(paths.host_ns[row] / 1e6),
                significant(paths.device_ns[row] / 1e6),
                percent(weights[row] / total),
            )
            for row in sorted(order, key=self._way)
        )
        share = f"share of {'device' if by_device else 'host'} time"
        columns = ("path", "kind", "calls", "host ms", "device ms", share)
        table = Table(columns, rows, numeric=frozenset(range(2, 6)), names=frozenset({0}), important=(0, 5, 3, 4))
        more = len(weights) - len(rows)
        return (table, Paragraph(f"{more:,} paths of less time are not listed here.")) if more else (table,)

    def _way(self, row: int) -> tuple[int, ...]:
        way = [row]
        while (parent := self.found.paths.parent[way[-1]]) >= 0:
            way.append(parent)
        return tuple(reversed(way))

    def data(self) -> Any:
        paths = self.found.paths
        used = {name: number for number, name in enumerate(dict.fromkeys(paths.name))}
        kernels = {name for name, kind in zip(paths.name, paths.kind, strict=True) if kind == KIND_KERNEL}
        names = self.found.names
        return {
            "names": [short_name(names[name]) if name in kernels else names[name] for name in used],
            "parent": paths.parent,
            "name": [used[name] for name in paths.name],
            "kind": paths.kind,
            "kinds": PATH_KINDS,
            "calls": paths.calls,
            "host": paths.host_ns,
            "device": paths.device_ns,
            "device_first": any(paths.device_ns),
        }

    def pruned(self, share: float) -> Icicle:
        """The first paths; those below that are left out count as their parent's own time."""
        kept = int(len(self.found.paths.parent) * share)
        paths = self.found.paths
        weights = [max(pair) for pair in zip(paths.host_ns, paths.device_ns, strict=True)]
        chosen = set(sorted(range(len(weights)), key=lambda row: -weights[row])[:kept])
        place: dict[int, int] = {-1: -1}
        for row, parent in enumerate(paths.parent):
            if row in chosen and parent in place:
                place[row] = len(place) - 1
        rows = [row for row in place if row >= 0]
        used = {name: number for number, name in enumerate(dict.fromkeys(paths.name[row] for row in rows))}
        columns = {name: tuple(getattr(paths, name)[row] for row in rows) for name in type(paths).model_fields}
        columns["parent"] = tuple(place[parent] for parent in columns["parent"])
        columns["name"] = tuple(used[name] for name in columns["name"])
        found = self.found.model_copy(
            update={
                "paths": type(paths)(**columns),
                "names": tuple(self.found.names[name] for name in used),
                "paths_left_out": self.found.paths_left_out + len(paths.parent) - len(rows),
            }
        )
        note = f"{self.note} {len(paths.parent) - len(rows):,} paths of little time are left out of the page."
        return Icicle(title=self.title, note=note, found=found)


def icicle_of(found: DrillDown, stage: str) -> Icicle | None:
    """The paths of a capture, where there are any of the host."""
    if KIND_RANGE not in found.paths.kind and len(found.paths.parent) < 2:
        return None
    by_device = any(found.paths.device_ns)
    note = f"{stage}, {found.source}. Width: time of {'the devices, by what launched it' if by_device else 'the host'}"
    note += ", with what lies below; what is left below a row is its own time."
    if found.paths_left_out:
        note += f" {found.paths_left_out:,} paths of little time stand together as “smaller”."
    return Icicle(title=f"Phase, module, operator, kernel: {stage}", note=note, found=found)
