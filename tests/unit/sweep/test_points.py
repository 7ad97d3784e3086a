"""From combinations of settings to points: identity, validation before anything runs, order."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.stages.enabled import enabled_stages
from llm_perf_opt.sweep.axes import Settings, choose, read_arguments
from llm_perf_opt.sweep.points import Point, _weights_id, plan_points, tasks_of, timed_only
from tests.unit.sweep.leaving import point


def combinations(*words: str) -> list[Settings]:
    files, axes = read_arguments(words)
    return choose(files, axes)


def planned(*words: str) -> list[Point]:
    return plan_points(combinations(*words))


def test_a_point_is_what_it_resolves_to(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("infer: {batch_size: 2}\nartifacts: {runs_dir: elsewhere}\n")
    (one,) = planned("infer.batch_size=2")
    (other,) = planned(str(tmp_path / "a.yaml"))
    assert one.record.id == other.record.id, "however it is written, and wherever results go"
    two, four = planned("infer.batch_size=2,4")
    assert two.record.id == one.record.id
    assert four.record.id != two.record.id
    assert four.record.group == two.record.group
    assert (two.record.settings, two.record.batch) == ({"infer.batch_size": 2}, 2)
    assert planned("infer.seed=1")[0].record.group != two.record.group


def test_the_work_is_part_of_it(tmp_path: Path) -> None:
    prompt = tmp_path / "prompts" / "a.txt"
    prompt.parent.mkdir()
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    words = (f"model.path={model}", f"dataset.root={prompt.parent}")
    ids = []
    for text, weights in (("one", b"x"), ("two!", b"x"), ("two!", b"y")):
        prompt.write_text(text)
        (model / "model.safetensors").write_bytes(weights)
        _weights_id.cache_clear()
        ids.append(planned(*words)[0].record.id)
    assert len(set(ids)) == 3


def test_points_that_come_out_the_same_are_one() -> None:
    assert len(planned("infer.batch_size=1,2,1,0x2")) == 2


def test_presets_and_lists_are_swept() -> None:
    points = planned("profiling/torch@pipeline.torch_profiler=torch-profiler.min,torch-profiler.max")
    assert [point.config.pipeline.section("torch_profiler").activities for point in points] == [  # type: ignore[attr-defined]
        ("cpu",),
        ("cpu", "cuda"),
    ]
    listed = planned("measure.ranges=[phase],[phase, step]")
    assert [found.record.settings["measure.ranges"] for found in listed] == ["[phase]", "[phase, step]"]


def test_every_mistake_is_found_before_anything_runs() -> None:
    with pytest.raises(ConfigError) as found:
        planned("infer.batch_size=1,0", "infer.execution=eager,never")
    assert found.value.message.startswith("3 of 4 points cannot be run, so none was started\n")
    assert "infer.batch_size=0 infer.execution=eager" in found.value.message
    assert "infer.batch_size=1 infer.execution=never" in found.value.message
    with pytest.raises(ConfigError) as found:
        planned("infer.batch_size=1,2", "infer.nothing=3")
    assert found.value.message.startswith("override infer.nothing=3: "), "it is no matter of a point"
    with pytest.raises(ConfigError, match="1 of 2 points"):
        planned("hardware.gpu=auto,no-such-gpu")
    with pytest.raises(MissingError, match="1 of 2 points"):
        planned("model.path=null,/no/such/model")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pipeline.workload.command=[run, --token, hf_abcdef123456]", "pipeline.nsys.enable=true"), "holds a secret"),
        (
            (
                "pipeline.torch_profiler.output.prediction.enable=true",
                "pipeline.torch_profiler.output.prediction.save_dir=/tmp/all",
            ),
            "is one folder for all points",
        ),
    ],
)
def test_what_points_cannot_share_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(*words)


def test_launches_after_the_first_only_time() -> None:
    (found,) = planned("pipeline.nsys.enable=false", "pipeline.direct_inference.enable=true")
    names = [stage.name for stage in enabled_stages(timed_only(found.config))]
    assert names == ["torch_profiler", "direct_inference"]
    assert "static_analysis" in [stage.name for stage in enabled_stages(found.config)]
    (static,) = planned("pipeline.torch_profiler.enable=false")
    assert len(tasks_of([static], 1)) == 1
    with pytest.raises(ConfigError, match="none is on"):
        tasks_of([static], 2)


def test_launches_of_a_configuration_are_those_of_the_sweep() -> None:
    (once,), (often,) = planned("infer.seed=1"), planned("infer.seed=1", "measure.launches=5")
    assert (once.launches, often.launches) == (1, 5)
    assert once.record == often.record, "the number is no part of what a point is"
    assert often.config.measure.launches == 1
    with pytest.raises(ConfigError, match=r"measure\.launches is 1 and 5, and all points"):
        planned("measure.launches=1,5")


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from("abc")), unique=True, max_size=12), st.integers(1, 3))
def test_launches_take_turns_and_smaller_batches_go_first(asked: list[tuple[int, str]], launches: int) -> None:
    config = planned("infer.batch_size=1")[0].config
    points = [Point(point(batch, group), config) for batch, group in asked]
    tasks = tasks_of(points, launches)
    assert [task.launch for task in tasks] == sorted(task.launch for task in tasks)
    for launch in range(1, launches + 1):
        order = [task.point for task in tasks if task.launch == launch]
        assert [each.group for each in order] == [group for _, group in asked], "groups stay where they are"
        for group in "abc":
            batches = [each.batch for each in order if each.group == group]
            assert batches == sorted(batches)
    assert len({task.key for task in tasks}) == len(tasks)
