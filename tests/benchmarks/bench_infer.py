"""`llmperf infer` against a bare script that loads the same model and generates the same tokens: CPU time of whole
processes, alternating, ratio of the medians.

    uv run python -m tests.benchmarks.bench_infer [--pairs 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cli_process import LLMPERF, environment

LIMIT = 1.15
RUNS = 4  # one warm-up and three timed repeats
NEW_TOKENS = 64
PROMPT = "What is the capital of France?"

BARE = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
path, runs, new_tokens, prompt = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
ids = tokenizer(prompt, return_tensors="pt")
for _ in range(runs):
    with torch.inference_mode():
        model.generate(**ids, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False)
"""

MAKE_MODEL = """
import sys, torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
alphabet = {symbol: index for index, symbol in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
tokenizer = Tokenizer(models.BPE(vocab={**alphabet, "<pad>": 256}, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>").save_pretrained(sys.argv[1])
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=8192, hidden_size=512, intermediate_size=1536, num_hidden_layers=8, num_attention_heads=8,
    eos_token_id=None, bos_token_id=None,
)
LlamaForCausalLM(config).save_pretrained(sys.argv[1])
"""


def cpu_s(command: list[str], cwd: Path) -> float:
    """User and system seconds of `command` and everything it started."""
    before = os.times()
    subprocess.run(
        command, cwd=cwd, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    after = os.times()
    return (after.children_user - before.children_user) + (after.children_system - before.children_system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "model"
        subprocess.run([sys.executable, "-c", MAKE_MODEL, str(model)], env=environment(), check=True)
        bare = [sys.executable, "-c", BARE, str(model), str(RUNS), str(NEW_TOKENS), PROMPT]
        ours = [
            *(LLMPERF, "infer", "model/causal_lm/arch@model=causal_lm.default", f"model.path={model}"),
            *("dataset.root=null", f"dataset.prompt={PROMPT}", "infer.stop_on_eos=false"),
            *(f"infer.max_new_tokens={NEW_TOKENS}", "measure.warmup=1", f"measure.repeats={RUNS - 1}"),
        ]
        times = [(cpu_s(ours, folder), cpu_s(bare, folder)) for _ in range(pairs)]
    for first, second in times:
        print(f"llmperf infer {first:.2f} CPU s, bare script {second:.2f} CPU s: ratio {first / second:.3f}")
    ratio = statistics.median(first / second for first, second in times)
    print(f"median ratio {ratio:.3f} (limit {LIMIT})")


if __name__ == "__main__":
    main()
