"""A description as JSON and back: what the tracing child tells its parent."""

from __future__ import annotations

import dataclasses
from typing import Any

from llm_perf_opt.analysis.static import attention, entries, operators, rows, source_attention, state
from llm_perf_opt.analysis.static.description import Block, Description, Vision
from llm_perf_opt.analysis.static.rows import Rows

_CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for module in (attention, entries, operators, rows, source_attention, state)
    for kind in vars(module).values()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
} | {"Block": Block, "Vision": Vision}
_PLAIN = ("source", "prompt_is_source", "source_limit", "positions", "no_decoding")


def to_wire(value: object) -> Any:
    """Blocks and operators as JSON values; each object says what it is."""
    if isinstance(value, Rows):
        return {"is": "Rows", "value": value.value}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_wire(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"is": type(value).__name__, **fields}
    return [to_wire(item) for item in value] if isinstance(value, list | tuple) else value


def from_wire(value: Any) -> Any:
    """What `to_wire` was given, lists as tuples.

    Raises:
        KeyError, TypeError: something else.
    """
    if isinstance(value, list):
        return tuple(from_wire(item) for item in value)
    if not isinstance(value, dict):
        return value
    fields = {name: from_wire(item) for name, item in value.items() if name != "is"}
    return Rows(fields["value"]) if value["is"] == "Rows" else _CLASSES[value["is"]](**fields)


def description_to_wire(description: Description) -> dict[str, Any]:
    """A traced description; its vision path is the one of the images it was traced with."""
    return {
        "blocks": to_wire(description.blocks),
        "vision": to_wire(description.vision(())) if description.vision else None,
        "vision_reason": description.vision_reason,
        "notes": list(description.notes),
        **{name: getattr(description, name) for name in _PLAIN},
    }


def description_from_wire(wire: dict[str, Any]) -> Description:
    """The description that `description_to_wire` was given."""
    vision = from_wire(wire["vision"])
    return Description(
        blocks=from_wire(wire["blocks"]),
        vision=None if vision is None else lambda images: vision,
        vision_reason=wire["vision_reason"],
        notes=tuple(wire["notes"]),
        **{name: wire[name] for name in _PLAIN},
    )
