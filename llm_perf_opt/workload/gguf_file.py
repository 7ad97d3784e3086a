"""Opening GGUF files of whatever origin."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
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


@contextlib.contextmanager
def read_once() -> Iterator[None]:
    """While it lasts, transformers opens a GGUF file once, as `open_gguf` does.

    It would read all metadata, which takes seconds for a vocabulary, for the configuration, the weights and the
    tokenizer each, and make the names of all tensors anew for each module of the model.
    """
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader = functools.cache(lambda path: open_gguf(Path(path)))
    gguf.get_tensor_name_map = functools.cache(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names


class _Bounded(GGUFReader):  # type: ignore[misc]  # gguf is not typed
    """gguf's reader goes on at the end of a file: with a damaged length it makes empty values until memory is gone."""

    @functools.cached_property
    def _bytes(self) -> Any:
        return self.data.view(np.ndarray)  # the slices of a memmap are made several times slower

    def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
        kind = np.dtype(dtype).newbyteorder(override_order or self.byte_order)
        end = offset + kind.itemsize * int(count)
        if end > len(self._bytes):
            raise ValueError("it ends before what its header promises")
        return self._bytes[offset:end].view(kind)

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
        if raw_type == GGUFValueType.ARRAY and (items := int(self._get(orig_offs + 4, np.uint64)[0])) > MOST_ITEMS:
            raise ValueError(f"it has an array of {items:,} items")
        return super()._get_field_parts(orig_offs, raw_type)
