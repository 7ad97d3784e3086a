"""`kernels profile`: the folder of its runs is one command's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from llm_perf_opt.cli import kernel_profiles
from llm_perf_opt.cli.kernel_profiles import _claim
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.kernels import TopKernel


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


def test_a_folder_that_is_taken_before_it_begins_is_refused_only_if_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    monkeypatch.setattr(kernel_profiles, "new_path", lambda runs_dir, run_id: tmp_path / "taken")
    kernel = TopKernel(name="f", kernel_name="f")
    asked = kernel_profiles.Request([kernel], {}, (), None, None)
    assert kernel_profiles._folder(asked) == (tmp_path / "taken", True)
    with pytest.raises(ConfigError, match="is not empty"):
        kernel_profiles._folder(replace(asked, output=tmp_path / "taken"))
