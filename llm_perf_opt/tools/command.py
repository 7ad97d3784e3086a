"""What is said about a command in `cmd.txt` and in the plan, and the environment a profiled program gets."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from llm_perf_opt.redact import is_secret_name, redact_argv, redact_env


def command_text(argv: Sequence[str], *, cwd: Path, changed: Mapping[str, str], dropped: Sequence[str] = ()) -> str:
    """The text of `cmd.txt`: a command that can be pasted into a shell, secrets hidden.

    Args:
        changed: variables set in addition to those of the shell.
        dropped: variables that were left out of the environment.
    """
    words = [shlex.quote(word) for word in redact_argv(argv)]
    settings = [f"{name}={shlex.quote(value)}" for name, value in sorted(redact_env(changed).items())]
    left_out = [word for name in sorted(dropped) for word in ("-u", shlex.quote(name))]
    prefix = ["env", *left_out, *settings] if left_out or settings else []
    return f"cd {shlex.quote(str(cwd))}\n{' '.join([*prefix, *words])}\n"


def profiled_environment(environ: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The environment without variables that hold secrets, and the names of those.

    nsys stores the whole environment of what it launches in its report and in every export of it (tables
    META_DATA_CAPTURE and TARGET_INFO_SYSTEM_ENV), where nothing can be redacted any more; so they do not get there.
    """
    dropped = tuple(sorted(name for name, value in environ.items() if value and is_secret_name(name)))
    return {name: value for name, value in environ.items() if name not in dropped}, dropped
