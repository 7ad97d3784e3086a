"""Mamba 1 and 2 and Falcon-Mamba: state spaces alone, no attention and no MLP."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import embedding, final_norm, head, norms, stack
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Linear, Operator, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.recurrent import mamba2
from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence


def _model(config: Reader, mixer: tuple[Operator, ...]) -> Description:
    hidden, vocabulary, layers = (config.size(key) for key in ("hidden_size", "vocab_size", "num_hidden_layers"))
    layer = norms(("norm",), hidden) + mixer
    blocks = (
        embedding(vocabulary, hidden, "embeddings"),
        *stack([("layer", layer)] * layers),
        final_norm(hidden, name="norm_f"),
        head(hidden, vocabulary, tied=config.flag("tie_word_embeddings")),
    )
    return Description(blocks)


def mamba1(
    module: str, hidden: int, inner: int, *, state: int, rank: int, kernel: int, bias: bool, conv_bias: bool
) -> tuple[Operator, ...]:
    """Mamba's mixer: step, input and output projections of the state depend on the token."""
    return (
        Linear(f"{module}.in_proj", hidden, 2 * inner, bias),
        CausalConvolution(f"{module}.conv1d", inner, kernel, conv_bias),
        Linear(f"{module}.x_proj", inner, rank + 2 * state),
        Linear(f"{module}.dt_proj", rank, inner, True),
        Vector(f"{module}.A_log,D", inner * state + inner),
        Recurrence(f"{module}.scan", inner * state, 2, 3 * inner + 2 * state),
        Linear(f"{module}.out_proj", inner, hidden, bias),
    )


def _mamba(config: Reader, options: Options) -> Description:
    hidden = config.size("hidden_size")
    inner = config.optional_size("intermediate_size") or config.size("expand") * hidden
    rank = -(-hidden // 16) if config.get("time_step_rank") == "auto" else config.size("time_step_rank")
    mixer = mamba1(
        "mixer",
        hidden,
        inner,
        state=config.size("state_size"),
        rank=rank,
        kernel=config.size("conv_kernel"),
        bias=config.flag("use_bias"),
        conv_bias=config.flag("use_conv_bias"),
    )
    return _model(config, mixer)


def _mamba2(config: Reader, options: Options) -> Description:
    hidden, heads, head_dim = (config.size(key) for key in ("hidden_size", "num_heads", "head_dim"))
    if heads * head_dim != hidden * config.size("expand"):
        raise config.error(
            "num_heads",
            f"is {heads}; times head_dim = {head_dim} that is not expand = {config.get('expand')} times {hidden}",
            "correct one of them",
        )
    mixer = mamba2(
        "mixer",
        hidden,
        heads=heads,
        head_dim=head_dim,
        groups=config.size("n_groups"),
        state=config.size("state_size"),
        kernel=config.size("conv_kernel"),
        bias=config.flag("use_bias"),
        conv_bias=config.flag("use_conv_bias"),
    )
    return _model(config, mixer)


_COMMON = {
    "hidden_size": 4096,
    "num_hidden_layers": 64,
    "expand": 2,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
}
_FIRST = {
    **_COMMON,
    "vocab_size": 50280,
    "hidden_size": 768,
    "num_hidden_layers": 32,
    "state_size": 16,
    "time_step_rank": "auto",
    "intermediate_size": None,
    "tie_word_embeddings": True,
}

FAMILIES = (
    Family("mamba", _FIRST, _mamba),
    Family("falcon_mamba", _FIRST, _mamba),
    Family(
        "mamba2",
        {
            **_COMMON,
            "vocab_size": 32768,
            "state_size": 128,
            "num_heads": 128,
            "head_dim": 64,
            "n_groups": 8,
            "tie_word_embeddings": False,
        },
        _mamba2,
    ),
)
