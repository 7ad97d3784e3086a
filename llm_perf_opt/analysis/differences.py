"""What is not the same in two runs besides their figures: work, settings, machine, inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from llm_perf_opt.config.dump import to_dict
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.comparison import Difference, WorkComparison
from llm_perf_opt.records.environment import EnvironmentRecord
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.workload import BatchResult, Workload


def compare_work(a: Workload, a_inputs: Inputs, b: Workload, b_inputs: Inputs) -> WorkComparison:
    """Whether what two runs measured may be compared, and the facts of the model that are not the same."""
    facts = differences(_facts(a), _facts(b))
    if a.work_fingerprint is not None and a.work_fingerprint == b.work_fingerprint:
        return WorkComparison(relation="same", differences=facts)
    reason = _different_work(a, a_inputs, b, b_inputs)
    if reason is not None:
        rates = _same_inputs(a, a_inputs, b, b_inputs)
        return WorkComparison(relation="different", reason=reason, differences=facts, rates=rates)
    return WorkComparison(relation="comparable", differences=facts)


def _same_inputs(a: Workload, a_inputs: Inputs, b: Workload, b_inputs: Inputs) -> bool:
    """Whether both ran the same inputs in the same batches, whatever tokens those became."""
    one, other = ([_digests(batch, inputs) for batch in run.batches] for run, inputs in ((a, a_inputs), (b, b_inputs)))
    return bool(one) and one == other


def _different_work(a: Workload, a_inputs: Inputs, b: Workload, b_inputs: Inputs) -> str | None:
    """The first thing that keeps figures from being compared."""
    for name, record in (("A", a), ("B", b)):
        if not record.batches:
            return f"no sample could be run in {name}"
    if len(a.batches) != len(b.batches):
        return f"A has {len(a.batches)} batches, B {len(b.batches)}"
    for index, (one, other) in enumerate(zip(a.batches, b.batches, strict=True)):
        if _digests(one, a_inputs) != _digests(other, b_inputs):
            return f"batch {index} is not made of the same inputs"
        if one.prompt_tokens != other.prompt_tokens:
            prompts, prompts_other = _counts(one.prompt_tokens), _counts(other.prompt_tokens)
            return f"batch {index} has {prompts} prompt tokens in A, {prompts_other} in B"
        made, made_other = _new_tokens(one), _new_tokens(other)
        if made != made_other:
            shown, shown_other = (" or ".join(map(_counts, sorted(found))) for found in (made, made_other))
            return f"batch {index} made {shown} new tokens in A, {shown_other} in B"
    return None


def _digests(batch: BatchResult, inputs: Inputs) -> list[str]:
    return [inputs.samples[index].sha256 for index in batch.samples]


def _new_tokens(batch: BatchResult) -> set[tuple[int, ...]]:
    """Of each row; more than one entry where repeats did not make the same number."""
    return {repeat.new_tokens for repeat in batch.repeats}


def _counts(rows: tuple[int, ...]) -> str:
    return " + ".join(f"{count:,}" for count in rows)


def _facts(record: Workload) -> dict[str, Any]:
    """What the model was and how it was run; its own configuration key by key."""
    model = record.model.model_dump(mode="json", exclude={"attention_note"})
    return {
        "model": model,
        "execution": record.execution,
        "cache": record.cache,
        "device": record.device.model_dump(mode="json"),
    }


def config_differences(a: Config, b: Config) -> tuple[Difference, ...]:
    """Settings by dotted path."""
    return differences(to_dict(a), to_dict(b))


def environment_differences(
    a: EnvironmentRecord, a_version: str, b: EnvironmentRecord, b_version: str
) -> tuple[Difference, ...]:
    """Machine, system, libraries, variables and the version of llmperf."""
    return differences(
        {**a.model_dump(mode="json"), "llmperf_version": a_version},
        {**b.model_dump(mode="json"), "llmperf_version": b_version},
    )


def input_differences(a: Inputs, b: Inputs) -> tuple[Difference, ...]:
    """Samples that are not the same file contents, and the order they are run in; where they lie does not count."""
    found = [
        Difference(name=f"samples[{index}]", a=_named(one), b=_named(other))
        for index, (one, other) in enumerate(zip_longest(_samples(a), _samples(b)))
        if one is None or other is None or one[1] != other[1]
    ]
    order, other_order = ({"epochs": inputs.model_dump(mode="json")["epochs"]} for inputs in (a, b))
    return (*found, *differences(order, other_order))


def _samples(inputs: Inputs) -> list[tuple[str, str]]:
    return [(sample.source, sample.sha256) for sample in inputs.samples]


def _named(sample: tuple[str, str] | None) -> str | None:
    return f"{sample[0]} (sha256 {sample[1][:12]})" if sample is not None else None


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Values of two trees that are not equal, by dotted path in the order of A; lists of scalars are compared whole."""
    flat_a, flat_b = dict(_leaves(a)), dict(_leaves(b))
    return tuple(
        Difference(name=name, a=flat_a.get(name), b=flat_b.get(name))
        for name in dict.fromkeys([*flat_a, *flat_b])
        if flat_a.get(name) != flat_b.get(name)
    )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for index, item in enumerate(value):
                yield from _leaves(item, f"{name}[{index}].")
        else:
            yield name, value
