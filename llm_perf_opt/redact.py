"""Hide secrets before anything is written: command lines, environments, any other text.

A secret is recognised by the name it is given under (`HF_TOKEN=…`, `--api-key …`) or by its own shape (`hf_…`,
`https://user:password@host`, `Bearer …`). Doubtful values are hidden: a hidden harmless word costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

HIDDEN = "***"

# What makes a name secret wherever it stands, and words that do so only at its end ("token" in `hf_token`, but not in
# `max_new_tokens` or `token_count`).
_ANYWHERE = re.compile(r"secret|passw(?:or)?d|passphrase|apikey|credential", re.IGNORECASE)
_AT_THE_END = frozenset({"token", "key", "auth", "authorization", "cookie", "pwd", "pat", "bearer", "pass"})
# Tokens of a tokenizer are not secrets.
_VOCABULARY = frozenset({"bos", "eos", "pad", "unk", "sep", "cls", "mask", "image", "stop", "special"})

# The shell's working directories, not passwords.
_DIRECTORIES = frozenset({"PWD", "OLDPWD"})

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SHAPES = re.compile(
    r"""
    \bhf_(?=[A-Za-z0-9]*[0-9A-Z])[A-Za-z0-9]{6,}   # Hugging Face, with a digit or a capital
  | \bhf_[a-z]{16,}
  | \bnvapi-[\w-]{10,}                             # NVIDIA NGC
  | \bsk-[\w-]{16,}                                # OpenAI and look-alikes
  | \bgh[opsur]_[A-Za-z0-9]{16,} | \bgithub_pat_\w{16,} | \bglpat-[\w-]{16,}
  | \bxox[abprs]-[\w-]{10,}                        # Slack
  | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b                  # AWS
  | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*              # JSON web token
    """,
    re.VERBOSE,
)
# user:password@ or token@ in front of a host.
_URL_LOGIN = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#\s]*@")
_SCHEME = re.compile(r"(?P<scheme>\b(?:bearer|basic)\s+)(?!\*\*\*)[^\s\"',;]+", re.IGNORECASE)
_VALUE = r"""(?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;&|)}\]]+)"""
_ASSIGNMENT = re.compile(r"""(?P<name>[A-Za-z_][\w.-]*)(?P<glue>["']?\s*(?:=|:(?!//))\s*)""" + _VALUE)
_OPTION = re.compile(r"(?P<name>(?<![\w-])--?[A-Za-z][\w.-]*)(?P<glue>\s+)(?!--)" + _VALUE)


def is_secret_name(name: str) -> bool:
    """Whether a variable, option or key of this name holds a secret (`HF_TOKEN`, `--api-key`, `model.password`)."""
    if name in _DIRECTORIES:
        return False
    if _ANYWHERE.search(name):
        return True
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words or (len(words) > 1 and words[-2] in _VOCABULARY):
        return False
    return words[-1] in _AT_THE_END or words[-1].endswith("token")


def redact_text(text: str) -> str:
    """`text` with every secret in it replaced by `***`. Applying it twice changes nothing more."""
    text = _URL_LOGIN.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _SCHEME.sub(rf"\g<scheme>{HIDDEN}", text)
    text = _SHAPES.sub(HIDDEN, text)
    return _ASSIGNMENT.sub(_hide_named, _OPTION.sub(_hide_named, text))


def redact_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """A command line fit to be written down: same length and order, secrets replaced by `***`."""
    redacted: list[str] = []
    hide_next = False
    for argument in argv:
        if hide_next and not argument.startswith("--"):
            redacted.append(HIDDEN)
            hide_next = False
            continue
        name, equals, _ = argument.partition("=")
        is_word = " " not in name
        if equals and is_word and is_secret_name(name):
            redacted.append(f"{name}={HIDDEN}")
        else:
            redacted.append(redact_text(argument))
        hide_next = argument.startswith("-") and not equals and is_word and is_secret_name(argument)
    return tuple(redacted)


def redact_env(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment fit to be written down: same names, secret values replaced by `***`."""
    return {
        name: HIDDEN if value and is_secret_name(name) else redact_text(value) for name, value in environment.items()
    }


def _hide_named(found: re.Match[str]) -> str:
    if not is_secret_name(found["name"]):
        return found[0]
    return f"{found['name']}{found['glue']}{HIDDEN}"
