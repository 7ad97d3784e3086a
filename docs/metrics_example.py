"""The worked example of docs/metrics.md: `uv run python docs/metrics_example.py` prints its tables.

The times are made up, so that they can be followed by hand; FLOPs, bytes and peaks are what llmperf computes.
"""

from __future__ import annotations

from llm_perf_opt.analysis.cost import cost_of, peaks_of
from llm_perf_opt.analysis.metrics import stage_metrics
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.workload import BatchResult, DeviceFacts, Memory, ModelFacts, Repeat, Workload
from llm_perf_opt.reports.document import Document, Section, Table
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.sections.figures import metric_blocks

# Llama-3.2-1B (https://huggingface.co/meta-llama/Llama-3.2-1B): sizes from its config.json.
LLAMA_1B = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}
PROMPT_TOKENS, STEPS = 1000, 4
# Time to first token and to last, of six repeats; preprocessing takes 2.0 ms of the first, prefill all but 2.2 ms.
TTFT_MS = (25.0, 25.2, 24.8, 25.1, 25.0, 27.9)
E2E_MS = (35.0, 35.6, 34.6, 35.3, 35.0, 38.3)


def record() -> Workload:
    """What a child could have measured."""
    repeats = tuple(
        Repeat(
            preprocess_ms=2.0,
            ttft_ms=ttft_ms,
            prefill_ms=ttft_ms - 2.2,
            decode_ms=e2e_ms - ttft_ms,
            step_ms=((e2e_ms - ttft_ms) / STEPS,) * STEPS,
            host_sync_ms=0.1,
            e2e_ms=e2e_ms,
            new_tokens=(STEPS + 1,),
        )
        for ttft_ms, e2e_ms in zip(TTFT_MS, E2E_MS, strict=True)
    )
    batch = BatchResult(
        epoch=0,
        samples=(0,),
        prompt_tokens=(PROMPT_TOKENS,),
        padded_tokens=PROMPT_TOKENS,
        image_tokens=(0,),
        repeats=repeats,
    )
    return Workload(
        stage="direct_inference",
        timings_only=True,
        work_fingerprint=None,
        model=ModelFacts(
            adapter="causal_lm",
            model_type="llama",
            parameters=1_235_814_400,
            weight_bytes=2_471_628_800,
            dtype="bfloat16",
            weights="pretrained",
            weights_id="",
            attention="sdpa",
            config=LLAMA_1B,
        ),
        device=DeviceFacts(
            device="cuda:0", name="NVIDIA H100 80GB HBM3", threads=1, torch_version="", transformers_version=""
        ),
        execution="eager",
        cache="dynamic",
        load_s=0.0,
        warmup_runs=1,
        batches=(batch,),
        memory=Memory(peak_bytes=2_900_000_000, source="CUDA allocator, timed repeats"),
    )


HARDWARE = HardwareState(recorded=True, reason=None, throttled=False, energy_j=60.0, energy_method="energy_counter")


def work_table() -> Table:
    """FLOPs and bytes of the example, and the peaks they are held against."""
    example, config = record(), Config()
    work = cost_of(example, config.infer, "causal", "last")(example.batches[0])
    peaks = peaks_of(example.device, example.model, config.hardware)
    assert not isinstance(work, str)
    assert peaks.flops_per_s is not None
    assert peaks.bytes_per_s is not None
    rows = (
        ("FLOPs of prefill", f"{work.prefill_flops:,}"),
        ("FLOPs of the decode steps", f"{work.decode_flops:,}"),
        ("least bytes of the decode steps, GB", f"{work.decode_least_bytes / 1e9:.3f}"),
        ("peak, TFLOP/s", f"{peaks.flops_per_s / 1e12:.1f}"),
        ("bandwidth, GB/s", f"{peaks.bytes_per_s / 1e9:,.0f}"),
        ("against", peaks.source),
    )
    return Table(("quantity", "value"), rows, numeric=frozenset({1}))


def figures() -> Document:
    """The example's figures, as a report shows them."""
    example, config = record(), Config()
    work = cost_of(example, config.infer, "causal", "last")
    metrics = stage_metrics(example, HARDWARE, work, peaks_of(example.device, example.model, config.hardware))
    blocks = tuple(metric_blocks(example.stage, metrics))
    return Document("Worked example", (Section("Work", (work_table(),)), Section("Figures", blocks)))


if __name__ == "__main__":
    print(to_markdown(figures()), end="")
