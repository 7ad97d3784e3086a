"""Every execution mode and cache makes the tokens of eager decoding on a growing cache."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llm_perf_opt.config.schema import Infer, Measure
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.workload.execution import Execution, Replay
from llm_perf_opt.workload.loop import Loop
from llm_perf_opt.workload.ranges import Ranges
from llm_perf_opt.workload.torch_private import compile_history
from tests.tiny_models import TEXT, write_text_model
from tests.unit.workload.models import PROMPTS, load, measuring, prompt, run, session

pytestmark = pytest.mark.integration  # compiling starts a compiler

EAGER = Infer(max_new_tokens=24, stop_on_eos=False)
FEW = Infer(max_new_tokens=4, stop_on_eos=False)
STATIC = EAGER.model_copy(update={"cache": "static"})


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", TEXT)
def test_static_cache_equals_dynamic(name: str, rows: int, tmp_path: Path) -> None:
    loaded = load(write_text_model(tmp_path, name), EAGER)
    samples = [prompt(text) for text in PROMPTS[:rows]]
    _, expected = run(loaded, samples, EAGER)
    loop = session(loaded, STATIC)
    batch = loaded.prepare(samples)
    # Twice: the second generation uses the same memory again.
    assert [loop.generate(batch, Ranges(())).tokens for _ in range(2)] == [expected.tokens] * 2


def _graphs() -> int | None:
    found = compile_history()
    return None if found is None else found.graphs


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_compiled_equals_eager_and_compiles_once(cache: str, tmp_path: Path) -> None:
    loaded = load(write_text_model(tmp_path, "llama"), EAGER)
    infer = EAGER.model_copy(update={"execution": "compile", "cache": cache})
    loop = session(loaded, infer)
    batches = [loaded.prepare([prompt(text)]) for text in PROMPTS]
    for batch in batches:
        loop.execution.reserve(batch)
    loop.generate(batches[0], Ranges(()))
    before = _graphs()
    assert before
    for text, batch in zip(PROMPTS, batches, strict=True):
        assert loop.generate(batch, Ranges(())).tokens == run(loaded, [prompt(text)], EAGER)[1].tokens
    assert _graphs() == before


def test_compilation_happens_in_warm_up(tmp_path: Path) -> None:
    """Batches of two rows, padded, and of one: each is compiled before anything is timed, even with warmup 0."""
    infer = FEW.model_copy(update={"execution": "compile", "cache": "static", "batch_size": 2})
    found = measuring(tmp_path, infer, PROMPTS, Measure(warmup=0, repeats=2))
    before = _graphs()
    assert found.warm_up(0) == 1
    compiled = _graphs()
    assert before is not None
    assert compiled is not None
    assert compiled > before
    measured = found.measure()
    assert _graphs() == compiled
    assert len(measured.batches) == 2
    assert found.notes == []


def test_a_graph_compiled_while_timing_is_told(tmp_path: Path) -> None:
    torch.compiler.reset()  # or a graph that an earlier test compiled is taken
    torch._dynamo.utils.clear_compilation_metrics()
    infer = FEW.model_copy(update={"execution": "compile", "cache": "static"})
    found = measuring(tmp_path, infer, PROMPTS[:1], Measure(warmup=0, repeats=1))
    found._compiled = compile_history()  # as if warm-up had left something
    found.measure()
    assert any("graphs were compiled in timed repeats: their times" in note for note in found.notes)
    assert found.compilation is not None
    assert found.compilation.late_graphs == len(found.compilation.late) == 1
    assert found.compilation.late[0].seconds > 0


class _Recorded:
    """Stands in for CUDA graphs on the CPU: runs the captured function again, on the same memory."""

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0

    def __call__(self, function: Replay) -> Replay:
        self.captures += 1
        logits = function()

        def replay() -> torch.Tensor:
            self.replays += 1
            return logits.copy_(function())

        return replay


@pytest.mark.parametrize("rows", [1, 3])
def test_captured_step_reads_its_inputs_at_fixed_addresses(rows: int, tmp_path: Path) -> None:
    loaded = load(write_text_model(tmp_path, "llama"), EAGER)
    samples = [prompt(text) for text in PROMPTS[:rows]]
    _, expected = run(loaded, samples, EAGER)
    recorded = _Recorded()
    loop = session(loaded, STATIC)
    loop.execution = Execution(loaded, STATIC.model_copy(update={"execution": "cuda_graph"}), recorded)
    batch = loaded.prepare(samples)
    for _ in range(3):
        assert loop.generate(batch, Ranges(())).tokens == expected.tokens
    assert recorded.captures == 1
    assert recorded.replays == 3 * (EAGER.max_new_tokens - 1)


def test_cuda_graph_is_refused(tmp_path: Path) -> None:
    loaded = load(write_text_model(tmp_path, "llama"), EAGER)
    with pytest.raises(MissingError, match="cuda_graph needs a CUDA device, and the model runs on cpu"):
        Loop(loaded, STATIC.model_copy(update={"execution": "cuda_graph"}), None, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a dynamic cache moves"):
        Execution(loaded, EAGER.model_copy(update={"execution": "cuda_graph"}), _Recorded())


def test_sliding_windows_are_not_captured(tmp_path: Path) -> None:
    loaded = load(write_text_model(tmp_path, "gemma3"), EAGER)
    loop = session(loaded, STATIC)
    loop.execution = Execution(loaded, STATIC.model_copy(update={"execution": "cuda_graph"}), _Recorded())
    with pytest.raises(StageError, match="sliding-window"):
        loop.generate(loaded.prepare([prompt(PROMPTS[0])]), Ranges(()))


def test_what_cannot_be_captured_says_why(tmp_path: Path) -> None:
    def refuses(_function: Replay) -> Replay:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    loaded = load(write_text_model(tmp_path, "llama"), EAGER)
    loop = session(loaded, STATIC)
    loop.execution = Execution(loaded, STATIC.model_copy(update={"execution": "cuda_graph"}), refuses)
    with pytest.raises(StageError, match="cannot be captured: operation not permitted when stream is capturing"):
        loop.generate(loaded.prepare([prompt(PROMPTS[0])]), Ranges(()))
