"""Decoding at fixed length never makes the host wait for the device: shown on a GPU that is not there.

Of every adapter, every wait in prefill and in decode steps is listed here with the function that asks for it. All
of them are in transformers or in a model's own code, of the versions in uv.lock; a new one fails a test, and so does
one that has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils import _pytree as pytree

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.registry import ADAPTERS
from llm_perf_opt.workload.clock import CudaClock
from llm_perf_opt.workload.loop import Loop
from llm_perf_opt.workload.selection import Choice, Selector
from tests.unit.workload.adapter_cases import CASES, Case, install_example
from tests.unit.workload.fake_cuda import (
    DEVICE,
    OUTSIDE,
    PREFILL,
    STEP,
    Ledger,
    LedgerClock,
    LedgerRanges,
    Waits,
    fake_cuda,
    generate_on_fake_cuda,
    onto_fake_cuda,
)
from tests.unit.workload.models import NoEvents

NEW_TOKENS = 3
STEPS = NEW_TOKENS - 1
BY_ID = {case.id: case for case in CASES}
CacheKind = Literal["dynamic", "static"]
CACHES: tuple[CacheKind, ...] = ("dynamic", "static")

SCALAR = "_local_scalar_dense"
MASKS = (SCALAR, "transformers/masking_utils.py:_ignore_causal_mask_sdpa")
CHECK: Waits = {(SCALAR, "transformers/utils/import_utils.py:torch_compilable_check"): 1}
"""As many places for an image in the prompt as its features need."""
QWEN = "transformers/models/qwen2_5_vl/modeling_qwen2_5_vl.py"
VISION = "transformers/vision_utils.py"
QWEN_VISION: Waits = {
    ("copy to cuda", f"{VISION}:get_vision_position_ids"): 1,
    ("tolist", f"{VISION}:get_vision_position_ids"): 2,
    ("repeat_interleave", f"{VISION}:get_vision_cu_seqlens"): 1,
    ("tolist", f"{VISION}:get_vision_window_index"): 1,
    ("copy to cuda", f"{VISION}:get_vision_window_index"): 1,
    ("unique_consecutive", f"{VISION}:get_vision_window_index"): 1,
    ("index by a host tensor", f"{QWEN}:permute_input_for_window_attn"): 3,
    # Two layers, queries, keys and values.
    ("tolist", f"{QWEN}:forward"): 6,
    ("index by a host tensor", f"{QWEN}:forward"): 1,
    ("tolist", f"{QWEN}:get_image_features"): 1,
}
"""The vision tower plans its windows on the host from sizes that it is given on the device, and takes no others."""
SAM: Waits = {("index by a host tensor", "transformers/models/deepseek_ocr2/modeling_deepseek_ocr2.py:get_rel_pos"): 8}
"""Relative positions, for both axes of both layers of both kinds of view."""
SLIDING = {"causal_lm-gemma3", "image_text-gemma3"}


def remote_code(rows: int) -> Waits:
    """Whether there are pixels, then of each page whether it has tiles, and as many places as features."""
    return {(SCALAR, "modeling_deepseekocr.py:forward"): 1 + 2 * rows}


def known_in_prefill(case: Case, rows: int, cache: CacheKind) -> Waits:
    found: Waits = {}
    if case.architecture == "resnet":
        return found
    if case.adapter == "deepseek_ocr":
        found |= remote_code(rows)
    elif not case.texts:
        found |= CHECK
    if case.architecture == "qwen2_5_vl":
        found |= QWEN_VISION
    if case.architecture == "deepseek_ocr2":
        found |= SAM
    padded = rows > 1 and case.pads
    sees_images = case.id == "image_text-gemma3"  # which makes its masks otherwise, and reads nothing for them
    empty = cache == "static" and not sees_images  # asks whether the cache is empty
    asked = empty + padded * (1 + (cache == "dynamic"))  # and whether anything is masked
    if asked:
        found |= {MASKS: asked}
    if case.id in SLIDING and cache == "dynamic":
        found |= {("copy to cuda", "transformers/cache_utils.py:lazy_initialization"): 1}
    return found


def known_in_decode(case: Case, cache: CacheKind) -> Waits:
    """A static cache of a sliding window, once full, makes its index on the host in every step; the first layer's."""
    if case.id in SLIDING and cache == "static":
        return {("copy to cuda", "transformers/cache_utils.py:update"): STEPS}
    return {}


OUR_READ = f"llm_perf_opt/workload/clock.py:{CudaClock.read.__name__}"
"""Where the loop reads a token."""


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example adapter is installed, and transformers copies remote code into a folder of the test."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    for folder in install_example(tmp_path / "installed"):
        monkeypatch.syspath_prepend(folder)


def settings(**changes: Any) -> Infer:
    return Infer(max_new_tokens=NEW_TOKENS, **changes)


def test_every_adapter_is_here() -> None:
    assert {case.adapter for case in CASES} == {*ADAPTERS.builtin(), "tiny_llama"}


# One row has no mask, two have one, and a static cache fixes shapes: every model both ways, and some in all four.
ALL_FOUR = ("demo-deepseek_ocr2", "causal_lm-llama", "causal_lm-gemma3")
FIXED = [
    pytest.param(case, rows, cache, id=f"{case.id}-{rows}-{cache}")
    for case in CASES
    for rows in (1, 2)
    for cache in CACHES
    if case.id in ALL_FOUR or (rows == 1) == (cache == "dynamic")
]


@pytest.mark.parametrize(("case", "rows", "cache"), FIXED)
def test_fixed_length(case: Case, rows: int, cache: CacheKind, tmp_path: Path) -> None:
    infer = settings(stop_on_eos=False, cache=cache, batch_size=rows)
    ledger, generation, batch = generate_on_fake_cuda(case.load(tmp_path, infer), case.samples(tmp_path, rows), infer)
    assert (batch.attention_mask is not None) == (rows > 1 and case.pads)
    assert batch.input_ids.device == DEVICE
    assert len(generation.step_ms) == (0 if case.architecture == "resnet" else STEPS)
    assert generation.host_sync_ms == 0.0
    assert ledger.waits(STEP) == known_in_decode(case, cache)
    assert ledger.waits(PREFILL) == known_in_prefill(case, rows, cache)
    # Ours: the first token for TTFT, all of them when decoding is over. transformers': when it makes its processors.
    outside = ledger.waits(OUTSIDE)
    assert {place.rpartition(":")[0]: count for (_, place), count in outside.items()} == {
        "llm_perf_opt/workload/clock.py": 1,
        "llm_perf_opt/workload/loop.py": 1,
        "transformers/generation/utils.py": 1,
    }


def test_the_docs_name_every_file_that_waits() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "adapters.md").read_text(encoding="utf-8")
    known = [
        place
        for case in CASES
        for cache in CACHES
        for place in (*known_in_decode(case, cache), *known_in_prefill(case, 2, cache))
    ]
    for _, place in known:
        assert f"`{Path(place).name.rpartition(':')[0]}`" in docs


PROCESSORS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "top_p": {"do_sample": True, "temperature": 0.8, "top_p": 0.9},
    "no_repeat_ngram": {"no_repeat_ngram_size": 2},
}
ONE_OF_EACH_FAMILY = ("causal_lm-llama", "image_text-llava", "demo-deepseek_ocr2", "deepseek_ocr-remote")


@pytest.mark.parametrize("stop_on_eos", [True, False])
@pytest.mark.parametrize("processors", PROCESSORS)
def test_logits_processors(processors: str, stop_on_eos: bool, tmp_path: Path) -> None:
    """Those of transformers read nothing; looking for the end reads the token, once a step, as host sync."""
    infer = settings(stop_on_eos=stop_on_eos, batch_size=2, **PROCESSORS[processors])
    case = BY_ID["causal_lm-llama"]
    ledger, generation, _ = generate_on_fake_cuda(case.load(tmp_path, infer), case.samples(tmp_path, 2), infer)
    assert ledger.waits(STEP) == ({("tolist", OUR_READ): STEPS} if stop_on_eos else {})
    assert generation.host_sync_ms == (STEPS * 1e3 if stop_on_eos else 0.0)


class FirstRowEnds(LedgerClock):
    """The first row makes its end-of-sequence token in the first step; the others go on."""

    end = -1

    def read(self, values: torch.Tensor) -> list[int]:
        found = super().read(values)
        return [self.end, *found[1:]] if self._ledger.phase == STEP else found


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_looking_for_the_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One read a step, ours, and timed: also behind a row that has ended, which is filled with padding."""
    infer = settings(batch_size=2)
    case = BY_ID[name]
    loaded = case.load(tmp_path, infer)
    monkeypatch.setattr(FirstRowEnds, "end", loaded.eos_token_ids[0])
    ledger, generation, _ = generate_on_fake_cuda(loaded, case.samples(tmp_path, 2), infer, FirstRowEnds)
    assert len(generation.step_ms) == STEPS
    assert ledger.waits(STEP) == {("tolist", OUR_READ): STEPS}
    assert generation.host_sync_ms == STEPS * 1e3


def test_a_processor_that_reads_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Selector.for_batch

    def reading(_history: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores / scores.max().item()

    def with_reading(selector: Selector, batch: Any) -> Choice:
        choice = made(selector, batch)
        choice.processors.append(reading)
        return choice

    monkeypatch.setattr(Selector, "for_batch", with_reading)
    infer = settings(stop_on_eos=False)
    case = BY_ID["causal_lm-llama"]
    ledger, generation, _ = generate_on_fake_cuda(case.load(tmp_path, infer), case.samples(tmp_path, 1), infer)
    ((operator, _place),) = ledger.waits(STEP)
    assert operator == SCALAR
    assert generation.host_sync_ms == STEPS * 1e3


def test_experts_without_host_reads_are_chosen_for_decoding(tmp_path: Path) -> None:
    loaded = BY_ID["causal_lm-qwen3_moe"].load(tmp_path, settings())
    assert set(loaded.model.get_experts_implementation().values()) == {"grouped_mm"}
    onto_fake_cuda(loaded, Ledger())
    with loaded.decoding():
        assert set(loaded.model.get_experts_implementation().values()) == {"batched_mm"}


def test_experts_that_loop_on_the_host_are_counted_and_named(tmp_path: Path) -> None:
    """The implementation that is never what runs by itself."""
    case, infer = BY_ID["causal_lm-qwen3_moe"], settings(stop_on_eos=False)
    loaded = case.load(tmp_path, infer)
    loaded.model.set_experts_implementation("eager")
    ledger, _, _ = generate_on_fake_cuda(loaded, case.samples(tmp_path, 1), infer)
    model = "transformers/models/qwen3_moe/modeling_qwen3_moe.py"
    assert {place.rpartition(":")[0] for _, place in ledger.waits(STEP)} == {model}
    assert {name for name, _ in ledger.waits(STEP)} == {"nonzero", SCALAR}


@pytest.mark.parametrize("name", ["input_ids", "attention_mask", "positions", "images_seq_mask", "images"])
def test_an_input_that_stayed_on_the_host_raises(name: str, tmp_path: Path) -> None:
    """Where it meets the device, as it would on a GPU."""
    case, infer = BY_ID["deepseek_ocr-remote"], settings(stop_on_eos=False, batch_size=2)
    loaded = case.load(tmp_path, infer)
    with fake_cuda() as ledger:
        onto_fake_cuda(loaded, ledger)
        with ledger:
            batch = loaded.prepare(case.samples(tmp_path, 2))
            holder = batch.extra if name in batch.extra else vars(batch)
            holder[name] = pytree.tree_map_only(torch.Tensor, ledger.content, holder[name])
            loop = Loop(loaded, infer, LedgerClock(ledger), NoEvents())  # type: ignore[arg-type]
            with pytest.raises(RuntimeError, match=r"on the same device|two different devices"):
                loop.generate(batch, LedgerRanges(ledger))


WAITING: dict[str, Callable[[torch.Tensor], Any]] = {
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "item": lambda x: x[0].item(),
    "tolist": lambda x: x.tolist(),
    "if": lambda x: 1 if x[0] else 0,
    "int": lambda x: int(x[0]),
    "float": lambda x: float(x[0]),
    "comparison": lambda x: 1 if x.sum() > 1 else 0,
    "all": lambda x: not x.all(),
    "index": lambda x: range(9)[x[0]],
    "mask": lambda x: x[x > 0],
    "assignment by a mask": lambda x: x.__setitem__(x > 0, x.new_ones(())),
    "nonzero": lambda x: x.nonzero(),
    "where": torch.where,
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": torch.unique,
    "equal": lambda x: torch.equal(x, x),
    "repeat_interleave": lambda x: x.repeat_interleave(x),
    "bincount": lambda x: x.bincount(),
    "copy of a list": lambda x: torch.tensor([1, 2], device=x.device),
    "index by the host's": lambda x: x[torch.tensor([0, 1])],
    "copy_": lambda x: x.copy_(torch.tensor([1, 2, 3])),
}
NOT_WAITING: dict[str, Callable[[torch.Tensor], Any]] = {
    "where": lambda x: torch.where(x > 0, x, 0),
    "masked_fill": lambda x: x.masked_fill(x > 0, 1),
    "argmax": lambda x: x.argmax(-1),
    "index": lambda x: x[x],
    "slice": lambda x: x[:1].copy_(x[1:2]),
    "arange": lambda x: torch.arange(3, device=x.device) + x,
    "repeat_interleave": lambda x: x.repeat_interleave(x, output_size=3),
    "number": lambda x: x + torch.tensor(2),
    "copy that need not wait": lambda x: x.to("cpu", non_blocking=True),
    "the host's own": lambda x: torch.tensor([1, 2]).tolist(),
}


@pytest.fixture(params=["no_grad", "inference_mode"])
def gradless(request: pytest.FixtureRequest) -> Iterator[None]:
    with getattr(torch, request.param)():
        yield


@pytest.mark.usefixtures("gradless")
@pytest.mark.parametrize("name", WAITING)
def test_the_ledger_sees_a_wait(name: str) -> None:
    with fake_cuda() as ledger, ledger:
        tensor = torch.ones(3, dtype=torch.long, device=DEVICE)
        assert ledger.count == 0
        WAITING[name](tensor)
    ((_, place),) = ledger.waits(OUTSIDE)
    assert place.startswith("test_no_host_sync.py:")
    assert ledger.count == 1


@pytest.mark.usefixtures("gradless")
@pytest.mark.parametrize("name", NOT_WAITING)
def test_the_ledger_sees_nothing_where_nothing_waits(name: str) -> None:
    with fake_cuda() as ledger, ledger:
        NOT_WAITING[name](torch.ones(3, dtype=torch.long, device=DEVICE))
    assert ledger.waits(OUTSIDE) == {}


def test_a_tensor_of_the_device_is_no_array() -> None:
    """As on a GPU it raises; the ledger has it all the same, should somebody catch that."""
    with fake_cuda() as ledger, ledger, pytest.raises(TypeError, match="numpy"):
        torch.ones(3, device=DEVICE).numpy()
    assert {operator for operator, _ in ledger.waits(OUTSIDE)} == {"numpy"}


def test_without_the_ledger_a_copy_to_the_host_goes_unseen() -> None:
    """What the ledger adds to torch's own fake mode, which lets such a copy pass."""
    with FakeTensorMode(), torch.no_grad():
        assert torch.ones(3, device=DEVICE).cpu().device.type == "cpu"
