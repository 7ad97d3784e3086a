"""Opening GGUF files of whatever origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader, GGUFValueType

from llm_perf_opt.errors import ConfigError
from llm_perf_opt.opening import check_file

MOST_ITEMS = 1 << 21
"""Of one array: the vocabularies and merges of models have some hundred thousands, and each becomes an object."""


def open_gguf(path: Path) -> GGUFReader:
    """The metadata of a GGUF file, and where its tensors are.

    Raises:
        ConfigError: it cannot be read, or is damaged.
    """
    try:
        check_file(path)
        return _Bounded(path)
    except OSError as error:
        raise ConfigError(
            f"{path} is not a readable GGUF file: {error.strerror or error}", "name a model file"
        ) from error
    except (ValueError, IndexError, KeyError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path} is not a readable GGUF file: {error}", "download it again") from error


class _Bounded(GGUFReader):  # type: ignore[misc]  # gguf is not typed
    """gguf's reader goes on at the end of a file: with a damaged length it makes empty values until memory is gone."""

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
        if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
            raise ValueError("it ends before what its header promises")
        return super()._get(offset, dtype, count, override_order)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        if raw_type == GGUFValueType.ARRAY and (items := int(self._get(orig_offs + 4, np.uint64)[0])) > MOST_ITEMS:
            raise ValueError(f"it has an array of {items:,} items")
        return super()._get_field_parts(orig_offs, raw_type)
