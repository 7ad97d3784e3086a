"""Seeing every operator that torch runs: names that torch does not promise to keep, here alone.

tests/unit/workload/test_private_names.py fails for a release that has moved one.
"""

from __future__ import annotations

from typing import Any

from torch.fx.experimental import _config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["TorchDispatchMode", "all_taken", "tree_leaves", "tree_map"]


def all_taken() -> Any:
    """A context in which a mask without values takes everything."""
    return _config.patch(meta_nonzero_assume_all_nonzero=True)  # type: ignore[attr-defined]
