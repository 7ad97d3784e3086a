"""An imported report and its raw page say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_perf_opt.captures.ncu import export_report, read_raw_csv
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_launches import csv_launches, raw_launches
from llm_perf_opt.formats.ncu_raw import MisspeltError, number
from llm_perf_opt.formats.ncu_rep import read_report
from tests.unit.formats.ncu_rep_writer import block, kernel, report

STRINGS = ("gpu__time_duration.sum", "dram__bytes_read.sum", "device__attribute_display_name", "sm__count")


def is_read(text: str) -> bool:
    """Whether it is no number with a decimal comma: such a file is refused."""
    try:
        number(text)
    except MisspeltError:
        return False
    return True


TEXTS = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Z"))).filter(is_read)
VALUES = st.none() | st.floats() | st.integers(0, 2**64 - 1) | TEXTS


@given(st.lists(st.dictionaries(st.integers(0, 3), VALUES), max_size=4))
@example([{0: float("nan"), 1: 2**64 - 1, 2: 'A "B", C'}, {0: 1e300, 1: "1,234.5", 3: "n/a"}])
@example([{0: 0.1, 1: float("inf"), 2: ""}])
@example([{0: ",", 1: "-,.,", 2: ",e5"}])
@example([{0: "NAN", 1: "+nan", 2: "1_0"}])
def test_what_is_read_of_a_report_is_what_its_page_says(
    tmp_path_factory: pytest.TempPathFactory, metrics: list[dict[int, int | float | str | None]]
) -> None:
    folder = tmp_path_factory.mktemp("report")
    path, raw = folder / "x.ncu-rep", folder / "raw.csv"
    path.write_bytes(
        report(block(kernels=[kernel(f"f{at}()", found) for at, found in enumerate(metrics)], strings=STRINGS))
    )
    assert export_report(path, raw) == read_raw_csv(raw, ())
    with raw.open(encoding="utf-8", newline="") as lines:
        if metrics:
            read = list(raw_launches(read_report(path), "it", lambda _: True))
            assert read == list(csv_launches(lines, "it", lambda _: True))
        else:
            with pytest.raises(StageError, match="no launches"):
                list(raw_launches(read_report(path), "it", lambda _: True))


@pytest.mark.parametrize("text", ["1,5", ",5", "-1,23", "1.234,5", "1,5e3"])
def test_a_decimal_comma_in_a_report_is_refused_as_in_its_page(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.ncu-rep").write_bytes(report(block(kernels=[kernel("f()", {0: text})], strings=STRINGS)))
    with pytest.raises(MisspeltError, match="decimal comma"):
        export_report(tmp_path / "x.ncu-rep", tmp_path / "raw.csv")


def test_a_broken_report_leaves_no_page(tmp_path: Path) -> None:
    (tmp_path / "x.ncu-rep").write_bytes(report(block(kernels=[kernel("f()", {5: 1.0})], strings=STRINGS)))
    with pytest.raises(StageError, match="string table has 4"):
        export_report(tmp_path / "x.ncu-rep", tmp_path / "raw.csv")
    assert not (tmp_path / "raw.csv").exists()


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["rtx3070-ncu2020.3", "gtx1660ti-ncu2022.4"])
def test_recorded_reports_and_their_pages(shared_data: Path, tmp_path: Path, name: str) -> None:
    found = export_report(shared_data / "ncu" / f"{name}.ncu-rep", tmp_path / "raw.csv")
    facts, results = found
    without_rules = tuple(result.model_copy(update={"rules": ()}) for result in results)
    assert (facts, without_rules) == read_raw_csv(tmp_path / "raw.csv", ())
    assert found[0].results == len(found[1]) > 0
