"""`kernels profile`: the folder of its runs is one command's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llm_perf_opt.cli.kernel_profiles import _claim
from llm_perf_opt.errors import ConfigError


@pytest.mark.parametrize("numbered", [True, False])
def test_of_many_with_one_folder_each_gets_its_own_or_one_wins(tmp_path: Path, numbered: bool) -> None:
    def claim(_number: int) -> Path | None:
        try:
            return _claim(tmp_path / "folder", numbered=numbered)
        except ConfigError:
            return None

    with ThreadPoolExecutor(16) as pool:
        won = [path for path in pool.map(claim, range(32)) if path is not None]
    assert len(won) == len(set(won)) == (32 if numbered else 1)
