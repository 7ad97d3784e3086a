"""State that is no KV cache: tokens are those of `generate()`, and a class whose past is not known is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.workload.execution import Execution
from llm_perf_opt.workload.past import past_of
from llm_perf_opt.workload.ranges import Ranges
from tests.tiny_models import BOS, EOS, PAD, VOCABULARY, write_text_model
from tests.unit.workload.models import PROMPTS, load, prompt, reference, run, session

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
    "initializer_range": 0.1,
    # Of tied weights the first token repeats whatever the state.
    "tie_word_embeddings": False,
}
RECURRENT: dict[str, dict[str, Any]] = {
    "mamba": {"state_size": 8},
    "mamba2": {"state_size": 16, "num_heads": 8, "head_dim": 16, "n_groups": 1, "expand": 2, "chunk_size": 16},
    "falcon_mamba": {"state_size": 8},
    "rwkv": {"attention_hidden_size": 64, "context_length": 512},
}
INFER = Infer(max_new_tokens=6, stop_on_eos=False)


def written(folder: Path, model_type: str) -> Path:
    path = write_text_model(folder, "llama", chat_template=None)
    config = {**_COMMON, "model_type": model_type, **RECURRENT[model_type]}
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.mark.parametrize("model_type", RECURRENT)
def test_tokens_are_those_of_generate(model_type: str, tmp_path: Path) -> None:
    loaded = load(written(tmp_path / "model", model_type), INFER)
    for rows in (1, 3):
        batch, generation = run(loaded, [prompt(text) for text in PROMPTS[:rows]], INFER)
        assert generation.tokens == reference(loaded, batch, INFER)
        assert (batch.attention_mask is not None) == (rows > 1)


def test_a_step_without_its_past_gives_other_tokens(tmp_path: Path) -> None:
    """The test above can fail: the state decides the tokens."""
    loaded = load(written(tmp_path / "model", "mamba2"), INFER)
    _, generation = run(loaded, [prompt(PROMPTS[0])], INFER)
    token = torch.tensor([generation.tokens[0][:1]])
    assert int(loaded.model(input_ids=token).logits[0, -1].argmax()) != generation.tokens[0][1]


@pytest.mark.parametrize("model_type", ["mamba2", "rwkv"])
def test_a_state_is_a_fixed_cache_that_begins_anew(model_type: str, tmp_path: Path) -> None:
    infer = INFER.model_copy(update={"cache": "static"})
    loaded = load(written(tmp_path / "model", model_type), infer)
    loop = session(loaded, infer)
    for text in PROMPTS[:2]:
        batch = loaded.prepare([prompt(text)])
        assert loop.generate(batch, Ranges(())).tokens == reference(loaded, batch, infer)


def test_what_is_made_anew_in_every_step_is_not_replayed(tmp_path: Path) -> None:
    infer = Infer(max_new_tokens=2, cache="static", execution="cuda_graph")
    loaded = load(written(tmp_path / "model", "rwkv"), INFER)
    with pytest.raises(ConfigError, match="RwkvForCausalLM makes its past anew"):
        Execution(loaded, infer, capture=lambda run: run)


class _Unknown:
    """A class that `generate()` gives no cache."""

    config = None

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def forward(self, input_ids: Any, position_ids: Any = None, cache: Any = None) -> None: ...


class _Forgetful:
    config = None

    def forward(self, input_ids: Any, mems: Any = None) -> None: ...


@pytest.mark.parametrize("model", [_Unknown(), _Forgetful()])
def test_a_past_that_is_not_known_is_refused(model: object) -> None:
    with pytest.raises(StageError, match="does not know"):
        past_of(model)


def test_paligemma_with_the_labels_of_its_processor(shared_data: Path, tmp_path: Path) -> None:
    from PIL import Image

    from tests.unit.workload.models import image

    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    loaded = load(shared_data.parent / "cases" / "models" / "tiny--paligemma", INFER, name="image_text")
    batch, generation = run(loaded, [image(tmp_path / "a.png")], INFER)
    assert generation.tokens == reference(loaded, batch, INFER)
