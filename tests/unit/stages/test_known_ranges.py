"""Captures of llmperf's own workload that wait for a range which it never opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.registry import ADAPTERS
from llm_perf_opt.stages.known_ranges import check_filters, check_trigger
from llm_perf_opt.tools.nvtx import translate_nvtx_include
from llm_perf_opt.workload.adapter import find_adapter

ALL = ["phase", "module", "sample", "step"]
DEMO = {"model": {"name": "demo"}, "measure": {"ranges": ALL}}
RESNET: dict[str, Any] = {"model": {"name": "dummy_shallow_resnet"}, "measure": {"ranges": []}}
TEXT = {"model": {"name": "causal_lm", "path": "x"}, "measure": {"ranges": ALL}}


def config_of(tree: dict[str, Any]) -> Config:
    return Config.model_validate(tree)


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (DEMO, ["warmup", "prefill", "decode", "sam", "clip", "projector", "sample[12]", "step[0]"]),
        (DEMO, ["decode@*", "decod@mine", "ncclAllReduce@NCCL", "anything@*"]),
        (RESNET, ["A", "A::A1", "B"]),
        ({**TEXT, "model": {"name": "causal_lm", "path": "x", "trust_remote_code": True}}, ["of the model's own code"]),
    ],
)
def test_what_the_workload_may_open_is_taken(tree: dict[str, Any], names: list[str]) -> None:
    for name in names:
        check_trigger(config_of(tree), name)


@pytest.mark.parametrize(
    ("tree", "name", "words"),
    [
        (DEMO, "decod", "opens no range decod: did you mean decode?"),
        (DEMO, "decod@*", "opens no range decod: did you mean decode?"),
        (DEMO, "decode*", "opens no range decode*: did you mean decode?"),
        (DEMO, "sampel[3]", "did you mean sample[0]?"),
        ({**DEMO, "measure": {"ranges": ["phase"]}}, "sam", "opened only with module in measure.ranges: add it: "),
        ({**DEMO, "measure": {"ranges": ["phase"]}}, "step[2]", "add it: measure.ranges: [phase, step]"),
        ({**DEMO, "infer": {"execution": "compile"}}, "sam", "opened only by infer.execution: eager, not compile"),
        (TEXT, "sam", "causal_lm opens warmup, prefill, decode, sample[0], step[0]"),
        ({**TEXT, "measure": {"ranges": []}}, "nothing", "the workload opens no range: name kinds"),
        (RESNET, "A::A2", "did you mean A::A1? dummy_shallow_resnet opens A, A::A1, B"),
    ],
)
def test_another_name_is_refused_with_the_nearest(tree: dict[str, Any], name: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_trigger(config_of(tree), name)
    assert words in f"{caught.value.message}: {caught.value.remedy}"
    assert caught.value.message.startswith("pipeline.nsys.nvtx_capture: ")


@pytest.mark.parametrize(
    "include",
    [
        "decode",
        "decode*",
        "decode/",
        "[decode",
        "prefill/*/sam/",
        r"sample\[0\]/",
        r"step\[7\]/",
        "regex:de.*/",
        "NCCL@x/",
    ],
)
def test_filters_of_what_may_be_opened_are_taken(include: str) -> None:
    check_filters(config_of(DEMO), translate_nvtx_include(include))


@pytest.mark.parametrize(
    ("include", "words"),
    [
        ("decod", "opens no range decod: did you mean decode?"),
        ("decode;decod/", "opens no range decod: did you mean decode?"),
        ("x*", "opens no range x*"),
        ("prefill/*/sma/", "opens no range sma: did you mean sam?"),
        ("sample[3]", r"sample[3] names no range: ncu reads [ and ]"),
    ],
)
def test_filters_of_what_is_never_opened_are_refused(include: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_filters(config_of(DEMO), translate_nvtx_include(include))
    assert words in f"{caught.value.message}: {caught.value.remedy}"


def test_every_adapter_of_ours_says_which_ranges_it_opens() -> None:
    assert all(find_adapter(name).modules is not None for name in ADAPTERS.builtin())


def test_the_presets_wait_for_ranges_that_there_are(tmp_path: Path) -> None:
    config = load_config(None, cwd=tmp_path, environ={}).config
    for name in ("prefill", "decode"):
        check_trigger(config, name)
