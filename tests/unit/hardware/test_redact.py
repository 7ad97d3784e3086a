"""No secret survives redaction; nothing else is lost."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.redact import (
    HIDDEN,
    hidden_paths,
    is_secret_name,
    redact_argv,
    redact_env,
    redact_text,
    redact_tree,
)

SECRET_NAMES = [
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "NGC_API_KEY",
    "AWS_SECRET_ACCESS_KEY",
    "WANDB_API_KEY",
    "DB_PASSWORD",
    "PGPASSWD",
    "githubToken",
    "openai.api_key",
    "API-KEY",
    "SECRET",
    "MY_SECRET_VALUE",
    "REGISTRY_AUTH",
    "apiKey",
    "ssh-key",
    "GITHUB_PAT",
    "model.token",
    "Authorization",
]
OPEN_NAMES = [
    "TOKENIZERS_PARALLELISM",
    "max_new_tokens",
    "infer.max_new_tokens",
    "prompt_tokens",
    "HF_HOME",
    "PATH",
    "CUDA_VISIBLE_DEVICES",
    "tokenizer",
    "eos_token",
    "pad-token",
    "keyboard",
    "KEYS_PER_ROW",
    "author",
    "NCCL_DEBUG",
    "token_count",
    "strip_special_tokens",
    "monkey",
]
# Long enough, and with a mark, so that finding it in the output can only mean it leaked.
secrets = st.text(string.ascii_letters + string.digits + "+/_.~%@!^", min_size=6, max_size=24).map(lambda s: "Zq7" + s)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)
    assert is_secret_name(f"--{name.lower()}")


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_names_that_only_look_like_secrets(name: str) -> None:
    assert not is_secret_name(name)
    assert redact_argv([f"{name}=64", f"--{name}", "64"]) == (f"{name}=64", f"--{name}", "64")


@given(st.sampled_from(SECRET_NAMES), secrets)
def test_a_named_secret_never_survives(name: str, secret: str) -> None:
    for argv in (
        [f"--{name}", secret, "--batch", "4"],
        [f"--{name}={secret}", "--batch", "4"],
        [f"{name}={secret}", "python", "x.py"],
        ["env", f"{name}={secret}", "llmperf", "run"],
        ["bash", "-c", f"export {name}={secret} && python x.py"],
        ["bash", "-c", f"python x.py --{name} {secret} --batch 4"],
        ["bash", "-c", f"python x.py --{name}='{secret}'"],
        ["curl", "-H", f"{name}: {secret}", "host"],
        ["python", "-c", f'dict({{"{name}": "{secret}"}})'],
    ):
        redacted = redact_argv(argv)
        assert len(redacted) == len(argv)
        assert secret not in " ".join(redacted), argv
        assert HIDDEN in " ".join(redacted)
    assert redact_env({name: secret, "NCCL_DEBUG": "INFO"}) == {name: HIDDEN, "NCCL_DEBUG": "INFO"}


@given(st.sampled_from(("https", "http", "postgresql", "git+ssh", "s3")), secrets, secrets)
def test_a_login_in_an_address_never_survives(scheme: str, user: str, password: str) -> None:
    user, password = user.replace("/", ""), password.replace("/", "")  # in an address a slash would be %2F
    for login in (f"{user}:{password}", password):
        url = f"{scheme}://{login}@host.example:8080/path?x=1"
        assert redact_text(f"clone {url} now") == f"clone {scheme}://{HIDDEN}@host.example:8080/path?x=1 now"
        assert redact_env({"HTTPS_PROXY": url})["HTTPS_PROXY"] == f"{scheme}://{HIDDEN}@host.example:8080/path?x=1"


@pytest.mark.parametrize(
    "secret",
    [
        "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567",
        "hf_abcdefghijklmnopqrstuvwxyzabcdefgh",
        "hf_abc123",
        "nvapi-0123456789abcdef-XYZ",
        "sk-proj-0123456789abcdefABCDEF",
        "ghp_0123456789abcdefABCDEF0123456789abcd",
        "github_pat_11ABCDEFG0123456789_abcdef",
        "xoxb-123456789012-abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    ],
)
def test_a_secret_is_known_by_its_shape(secret: str) -> None:
    for text in (secret, f"use {secret}.", f"x={secret}", f"['{secret}']", f"https://host/{secret}/resolve"):
        assert secret not in redact_text(text)
        assert secret not in "".join(redact_argv([text]))
        assert secret not in redact_env({"NOTE": text})["NOTE"]


@pytest.mark.parametrize(
    "argument",
    [
        "hf_hub_download",
        "hf_transfer",
        "model.path=/data/hf_models/llama",
        "https://host.example/a@b?x=y",
        "prefill@*",
        "profiling/ncu@pipeline.ncu=ncu.high",
        "--nvtx-include=regex:dec.*/",
        "-o",
        "nsys/run",
        "C:\\temp\\x",
        "--env-var=NSYS_NVTX_PROFILER_REGISTER_ONLY=0",
        "",
    ],
)
def test_ordinary_arguments_are_untouched(argument: str) -> None:
    assert redact_argv([argument]) == (argument,)


@given(st.lists(st.text(max_size=40), max_size=8))
def test_redaction_is_stable_and_keeps_the_shape_of_a_command_line(argv: list[str]) -> None:
    once = redact_argv(argv)
    assert len(once) == len(argv)
    assert redact_argv(once) == once


@given(st.text(max_size=200))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=6))
def test_an_environment_keeps_its_names(environment: dict[str, str]) -> None:
    assert list(redact_env(environment)) == list(environment)


def test_an_empty_secret_stays_visibly_empty() -> None:
    assert redact_env({"HF_TOKEN": ""}) == {"HF_TOKEN": ""}


def test_an_option_without_value_hides_nothing_behind_it() -> None:
    assert redact_argv(["--token", "--batch", "4"]) == ("--token", "--batch", "4")


@given(secrets)
def test_a_secret_in_any_form_never_survives(secret: str) -> None:
    for text in (
        f"nsys profile --env-var=HF_TOKEN={secret} python",
        f"--env-var=LEVEL=2,HF_TOKEN={secret}",
        f"mysql -p{secret} db",
        f"sshpass -p {secret} ssh host",
        f"curl -u me:{secret} host",
        f"Authorization: Token {secret}",
        f'curl -H "Authorization: Basic {secret}" host',
        f"Cookie: a=b; session={secret}",
        f'{{"headers": "{{\\"x-api-key\\": \\"{secret}\\"}}"}}',
        f"https://host/x?X-Amz-Signature={secret}&a=1",
        f"['-p{secret}', '-u', 'me:{secret}', '--password', '{secret}']",
    ):
        redacted = redact_text(text)
        assert secret not in redacted, (text, redacted)
        assert redact_text(redacted) == redacted
    for argv in (["mysql", f"-p{secret}"], ["curl", "-u", f"me:{secret}"], ["sshpass", "-p", secret, "ssh", "host"]):
        assert secret not in " ".join(redact_argv(argv))


def test_a_tree_of_settings() -> None:
    secret = "Zq7secret0000"
    tree = {
        "dataset": {"prompt": f"read https://me:{secret}@host/x"},
        "plugins": {
            "thing": {"api_key": secret, "count": 3, "keys": ["a"], "token": [secret], "off": None, "pass": ""}
        },
        "extra_args": [f"--env-var=HF_TOKEN={secret}", "--password", secret],
        "infer": {"max_new_tokens": 64, "stop": True},
    }
    hidden = redact_tree(tree)
    assert hidden == {
        "dataset": {"prompt": "read https://***@host/x"},
        "plugins": {
            "thing": {"api_key": "***", "count": 3, "keys": ["a"], "token": ["***"], "off": None, "pass": ""},
        },
        "extra_args": ["--env-var=HF_TOKEN=***", "--password", "***"],
        "infer": {"max_new_tokens": 64, "stop": True},
    }
    where = ["dataset.prompt", "plugins.thing.api_key", "plugins.thing.token", "extra_args"]
    assert list(hidden_paths(tree)) == where
    assert list(hidden_paths(hidden)) == []


@pytest.mark.parametrize("piece", ["a", "a-", "a.", "a=", "-p", "a: ", "\\'", "://", "--a "])
def test_a_long_line_of_anything_takes_as_long_as_it_is(piece: str) -> None:
    """Quadratic patterns take minutes of this; the suite's time limit of a test stops them."""
    redact_text(piece * 50_000)
