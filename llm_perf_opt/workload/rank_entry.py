"""What torchrun starts on every rank of a capture: the tool around the child on the chosen ranks, elsewhere the child.

Arguments: the chosen ranks, by commas; how many words the child's command has; the tool's command, which ends with it.
"""

from __future__ import annotations

import os
import sys

MODULE = "llm_perf_opt.workload.rank_entry"


def chosen_command(arguments: list[str], rank: int) -> list[str]:
    """The command of a rank."""
    ranks, words, command = arguments[0], int(arguments[1]), arguments[2:]
    return command if str(rank) in ranks.split(",") else command[-words:]


def main() -> None:
    command = chosen_command(sys.argv[1:], int(os.environ["RANK"]))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
