"""Decoding at fixed length never makes the host wait for the device: shown on a GPU that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from llm_perf_opt.config.presets import shipped_dir
from llm_perf_opt.config.schema import Infer
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.loop import History, Loop, _Finish
from llm_perf_opt.workload.ranges import Ranges
from tests.tiny_models import IMAGE_TEXT, TEXT, write_image_text_model, write_text_model
from tests.unit.workload.fake_cuda import DEVICE, Ledger, fake_batch, onto_fake_cuda
from tests.unit.workload.models import PROMPTS, NoEvents, image, load, prompt

NEW_TOKENS = 5
PAGES = sorted((shipped_dir() / "dataset" / "demo_pages").glob("*.png"))


class NoClock:
    """Marks that cost nothing; reading or waiting is an error."""

    def now(self) -> float:
        return 0.0

    def mark(self) -> None:
        return None

    def synchronize(self) -> None:
        raise AssertionError("the loop waited for the device inside decode")

    def read(self, values: torch.Tensor) -> list[int]:
        raise AssertionError("the loop read a tensor inside decode")

    def elapsed_ms(self, start: None, end: None) -> float:
        return 0.0


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers takes other ways when it sees fake tensors or no device; it must take those of a real GPU."""
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device=None: (9, 0))
    monkeypatch.setattr("transformers.masking_utils.is_tracing", lambda _tensor=None: False)


Reads = dict[tuple[str, str], int]


def reads(loaded: LoadedModel, batch: Batch, infer: Infer) -> tuple[Reads, Reads]:
    """What the host read in prefill, and in the decode steps after it."""
    loop = Loop(loaded, infer, NoClock(), NoEvents())  # type: ignore[arg-type]
    select = loop.selector.for_batch(batch)
    mode = Ledger()
    onto_fake_cuda(loaded, mode)
    batch = fake_batch(batch, mode)
    loop.execution.reserve(batch)
    with mode, torch.no_grad():
        decoding = loop.execution.begin(batch)
        history = History(batch.input_ids, NEW_TOKENS)
        token = select(history.ids, decoding.prefill())
        history.append(token)
        assert token.device == DEVICE
        prefill = dict(mode.reads)
        mode.reads.clear()
        finish = _Finish(loaded, infer, [0] * batch.rows)
        steps = Ranges(()).steps(NEW_TOKENS - 1)
        with loaded.decoding():
            loop._decode(decoding, token, select=select, history=history, finish=finish, marks=[], step_ranges=steps)
    return prefill, dict(mode.reads)


def by_us(found: Reads) -> Reads:
    """The reads that our own code asked for."""
    return {key: count for key, count in found.items() if key[1].startswith("llm_perf_opt")}


def settings(**changes: Any) -> Infer:
    return Infer(max_new_tokens=NEW_TOKENS, stop_on_eos=False, **changes)


@pytest.mark.parametrize(
    "sampling", [{}, {"do_sample": True, "temperature": 0.8, "top_p": 0.9}], ids=["greedy", "top_p"]
)
@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", TEXT)
def test_text_models(
    name: str, rows: int, cache: Literal["dynamic", "static"], sampling: dict[str, Any], tmp_path: Path
) -> None:
    infer = settings(cache=cache, **sampling)
    loaded = load(write_text_model(tmp_path, name), infer)
    prefill, decode = reads(loaded, loaded.prepare([prompt(text) for text in PROMPTS[:rows]]), infer)
    assert by_us(prefill) == by_us(decode) == {}
    # Layers with a sliding window take the padding mask in two dimensions, and transformers looks into it; a static
    # cache avoids that.
    inside = {("_local_scalar_dense", "transformers/masking_utils.py"): NEW_TOKENS - 1}
    assert decode == (inside if (name, rows, cache) == ("gemma3", 3, "dynamic") else {})


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("name", [*IMAGE_TEXT, "demo"])
def test_image_models(name: str, cache: Literal["dynamic", "static"], tmp_path: Path) -> None:
    infer = settings(cache=cache)
    if name == "demo":
        loaded = load(None, infer, name="demo")
    else:
        loaded = load(write_image_text_model(tmp_path, name), infer, name="image_text")
    batch = loaded.prepare([image(PAGES[0])])
    if name == "qwen2_5_vl":
        # Its vision tower plans its windows from sizes that it reads on the host: not to be had from fake tensors.
        batch.extra.clear()
    prefill, decode = reads(loaded, batch, infer)
    assert by_us(prefill) == by_us(decode) == {}
    assert decode == {}


def test_experts_without_host_reads_are_chosen_for_decoding(tmp_path: Path) -> None:
    loaded = load(write_text_model(tmp_path, "qwen3_moe"), settings())
    assert set(loaded.model.get_experts_implementation().values()) == {"grouped_mm"}
    onto_fake_cuda(loaded, Ledger())
    with loaded.decoding():
        assert set(loaded.model.get_experts_implementation().values()) == {"batched_mm"}


def test_reads_inside_a_models_forward_are_counted_and_named(tmp_path: Path) -> None:
    """The implementation of experts that loops over them on the host, which is never what runs by itself."""
    loaded = load(write_text_model(tmp_path, "qwen3_moe"), settings())
    loaded.model.set_experts_implementation("eager")
    _, decode = reads(loaded, loaded.prepare([prompt(PROMPTS[0])]), settings())
    assert {asker for _, asker in decode} == {"transformers/models/qwen3_moe/modeling_qwen3_moe.py"}


def test_the_ledger_sees_reads() -> None:
    mode = Ledger()
    with mode, torch.no_grad():
        tensor = torch.ones(3, device=DEVICE)
        tensor[0].item()
        bool(tensor.sum() > 1)
        tensor.cpu()
    assert {name: count for (name, _), count in mode.reads.items()} == {"_local_scalar_dense": 2, "_to_copy to cpu": 1}
