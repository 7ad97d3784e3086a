"""Hide secrets before anything is written: command lines, environments, any other text.

A secret is recognised by the name it is given under (`HF_TOKEN=…`, `--api-key …`) or by its own shape (`hf_…`,
`https://user:password@host`, `Bearer …`). Doubtful values are hidden: a hidden harmless word costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

HIDDEN = "***"

# What makes a name secret wherever it stands, and words that do so only at its end ("token" in `hf_token`, but not in
# `max_new_tokens` or `token_count`).
_ANYWHERE = re.compile(r"secret|passw(?:or)?d|passphrase|apikey|credential", re.IGNORECASE)
_AT_THE_END = frozenset(
    {"token", "key", "auth", "authorization", "cookie", "pwd", "pat", "bearer", "pass", "signature", "sig"}
)
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
_URL_LOGIN = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)[^/?#\s]*@")
_SCHEME = re.compile(r"(?P<scheme>\b(?:bearer|basic)\s+)(?!\*\*\*)[^\s\"',;]+", re.IGNORECASE)
# A header takes the rest of its line, or of its quotes: `Authorization: Token abc`, `Cookie: a=b; c=d`.
_HEADER = re.compile(
    r"""(?P<name>\b(?:(?:proxy-)?authorization|(?:set-)?cookie)\\*["']?\s*[:=]\s*)(?!\\*["']?\*\*\*)"""
    r"""(?:(?P<quote>\\*["']).*?(?P=quote)|[^\s"'\\][^\n"'\\]*)""",
    re.IGNORECASE,
)
# The login of curl and wget, `-u user:password`; the password of the clients of databases, `-pPASSWORD`; each also as a
# list of words is printed.
_NEXT = r"""(?:\\*["']?,?[ ]\\*["']?|=)"""
_LOGIN = re.compile(rf"""(?P<option>(?<![\w-])(?:-u|--user|--proxy-user){_NEXT}?[^\s:"'=\\,]+:)(?!//)[^\s"'\\]+""")
_SHORT = re.compile(r"""(?P<option>(?<![^\s"'])-p)(?![\s=])(?!\*\*\*)[^\s"',\\]+""")
_SSHPASS = re.compile(rf"""(?P<option>\bsshpass{_NEXT}-p{_NEXT})(?!\*\*\*)[^\s"'\\]+""")
_VALUE = re.compile(r"""(?P<escaped>\\+["']).*?(?P=escaped)|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s"',;&|)}\]]+""")
# Names are bounded, so that a long line of anything takes no longer than it must.
_ASSIGNMENT = re.compile(r"""(?P<name>(?<!\w)[A-Za-z_][\w.-]{0,127})(?P<glue>\\*["']?\s*(?:=|:(?!//))\s*)""")
_NAMED_WORD = re.compile(r"(?P<name>[^\s=/:@]+)=")
_OPTION = re.compile(r"(?P<name>(?<![\w-])--?[A-Za-z][\w.-]*)(?P<glue>\\*[\"']?,?\s+)(?!--)")


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
    text = _HEADER.sub(rf"\g<name>{HIDDEN}", text)
    text = _SCHEME.sub(rf"\g<scheme>{HIDDEN}", text)
    text = _SHAPES.sub(HIDDEN, text)
    for login in (_LOGIN, _SHORT, _SSHPASS):
        text = login.sub(rf"\g<option>{HIDDEN}", text)
    return _without_values(_ASSIGNMENT, _without_values(_OPTION, text))


def redact_argv(argv: Sequence[str]) -> tuple[str, ...]:
    """A command line fit to be written down: same length and order, secrets replaced by `***`."""
    redacted: list[str] = []
    before = ""
    for argument in argv:
        named = _NAMED_WORD.match(argument)
        if _is_secret_option(before) and not argument.startswith("--"):
            redacted.append(HIDDEN)
            before = ""
            continue
        if before in ("-u", "--user", "--proxy-user") and ":" in argument and "://" not in argument:
            redacted.append(f"{argument.partition(':')[0]}:{HIDDEN}")
        elif before == "-p" and redacted[-2:-1] and redacted[-2].endswith("sshpass"):
            redacted.append(HIDDEN)
        elif named and is_secret_name(named["name"]):
            redacted.append(f"{named['name']}={HIDDEN}")
        else:
            redacted.append(redact_text(argument))
        before = argument
    return tuple(redacted)


def _is_secret_option(argument: str) -> bool:
    """Whether the next argument is what this option hides."""
    return argument.startswith("-") and "=" not in argument and " " not in argument and is_secret_name(argument)


def redact_env(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment fit to be written down: same names, secret values replaced by `***`."""
    return {
        name: HIDDEN if value and is_secret_name(name) else redact_text(value) for name, value in environment.items()
    }


def redact_tree(value: Any, name: str = "") -> Any:
    """Plain values (of YAML, of JSON) fit to be written down: text under a secret name hidden, other text redacted.

    A list of texts is a command line: an option in it may hide the next one.
    """
    if isinstance(value, Mapping):
        return {key: redact_tree(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if is_secret_name(name):
            return [HIDDEN if isinstance(item, str) and item else redact_tree(item, name) for item in value]
        if value and all(isinstance(item, str) for item in value):
            return list(redact_argv(value))
        return [redact_tree(item, name) for item in value]
    if isinstance(value, str) and value:
        return HIDDEN if is_secret_name(name) else redact_text(value)
    return value


def hidden_paths(value: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of what `redact_tree` changes in `value`."""
    yield from _differences(value, redact_tree(value), path)


def _differences(value: Any, hidden: Any, path: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _differences(item, hidden[key], f"{path}.{key}" if path else str(key))
    elif (list(value) if isinstance(value, tuple) else value) != hidden:
        yield path


def _without_values(names: re.Pattern[str], text: str) -> str:
    """`text` with the value behind each secret name hidden; a value may name another: --env-var=HF_TOKEN=…"""
    parts, done, position = [], 0, 0
    while found := names.search(text, position):
        position = found.end()
        value = _VALUE.match(text, position) if is_secret_name(found["name"]) else None
        if value is not None:
            parts += [text[done:position], HIDDEN]
            done = position = value.end()
    return "".join([*parts, text[done:]])
