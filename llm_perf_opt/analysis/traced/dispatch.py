"""Seeing every operator that torch runs: names that torch does not promise to keep, here alone.

tests/unit/workload/test_private_names.py fails for a release that has moved one.
"""

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["TorchDispatchMode", "tree_leaves"]
