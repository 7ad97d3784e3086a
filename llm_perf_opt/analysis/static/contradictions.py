"""Whether the tensors of a checkpoint are those of the model that its config describes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from llm_perf_opt.analysis.static.description import Block
from llm_perf_opt.analysis.static.operators import Linear
from llm_perf_opt.analysis.static.stored import StoredWeights
from llm_perf_opt.errors import ConfigError

_OF_LAYER = re.compile(
    r"(?:(?:model|language_model|model\.language_model|language_model\.model|model\.decoder|gpt_neox)\.)?layers\.(\d+)"
    r"\.(.+)\.weight|(?:transformer\.)?h\.(\d+)\.(.+)\.weight"
)
"""Layers of the decoder; those of towers beside it have prefixes of their own."""


def check_stored(
    blocks: Sequence[Block], parameters: int, stored: StoredWeights, where: str, *, may_lack: bool = False
) -> None:
    """Refuse a config and tensors that contradict each other.

    Args:
        blocks: of the decoder.
        parameters: of the whole model.
        may_lack: a part of the model may be absent from its files, as the pooler of an encoder is.

    Raises:
        ConfigError: a matrix has another shape, or there are fewer elements than parameters.
    """
    remedy = "the two contradict each other: restore the checkpoint's own config.json, or download its weights again"
    matrices = _matrices(blocks)
    for name, shape in stored.shapes.items():
        found = _OF_LAYER.fullmatch(name)
        wanted = matrices.get((int(found[1] or found[3]), found[2] or found[4])) if found and len(shape) == 2 else None
        if wanted is not None and sorted(wanted) != sorted(shape):
            there, needed = (f"{rows:,} x {columns:,}" for rows, columns in (shape, wanted))
            raise ConfigError(f"{where}: tensor {name} is {there}, and by its sizes {needed}", remedy)
    held, exact = stored.elements, stored.parameters
    lacks = bool(stored.shapes) and held is not None and held < parameters and not may_lack
    if exact not in (None, parameters) or lacks:
        raise ConfigError(
            f"{where}: its sizes make {parameters:,} parameters, its tensors hold {exact or held:,}",
            f"{remedy}: no figure is given rather than a wrong one",
        )


def _matrices(blocks: Sequence[Block]) -> Mapping[tuple[int, str], tuple[int, int]]:
    """Layer and module -> outputs and inputs; a name that a layer has twice is left out."""
    found: dict[tuple[int, str], tuple[int, int]] = {}
    twice = set()
    for block in blocks:
        for operator in block.operators if not block.borrowed else ():
            for layer in block.layers if isinstance(operator, Linear) and not operator.shared else ():
                assert isinstance(operator, Linear)
                key = layer, operator.name
                twice.update({key} & found.keys())
                found[key] = operator.outputs, operator.inputs
    return {key: sizes for key, sizes in found.items() if key not in twice}
