"""Walk through the architectures of transformers: `python -m tests.walk [MODEL_TYPE ...]`.

Without options: examine and show. A walk that is interrupted goes on with `--write --missing`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.walk.page import PAGE, page
from tests.walk.record import Architecture, outcome, read, write


def main() -> int:
    """Exit code: 1 where `--check` finds another answer than the recorded one."""
    chosen = _arguments()
    import transformers
    from transformers.utils import logging

    from tests.walk.examine import examine, model_types

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    records = read()
    number, shards = (int(part) for part in chosen.shard.split("/"))
    names = (chosen.types or model_types())[number - 1 :: shards]
    changed = 0
    for name in names:
        known = records.get(name)
        if chosen.missing and known is not None and known.transformers == transformers.__version__:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = examine(name, Path(folder), known if chosen.figures else None)
        changed += known is None or _words(known) != _words(found)
        print(f"{name}: {', '.join(f'{question} {answer}' for question, answer in found.answers.items())}", flush=True)
        if chosen.write:
            records[name] = found
            write(records)
    if chosen.write:
        if not chosen.types:
            every = set(model_types())
            records = {name: record for name, record in records.items() if name in every}
            write(records)
        PAGE.write_text(page(records), encoding="utf-8")
    if chosen.check:
        print(f"{changed} of {len(names)} differ from the records", file=sys.stderr)
    return int(chosen.check and changed > 0)


def _words(record: Architecture) -> dict[str, str]:
    return {question: outcome(answer) for question, answer in record.answers.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.walk", description=__doc__)
    parser.add_argument("types", nargs="*", metavar="MODEL_TYPE", help="all where none is named")
    parser.add_argument("--write", action="store_true", help="keep the records, and make the page")
    parser.add_argument("--check", action="store_true", help="fail where an answer is not the recorded one")
    parser.add_argument("--missing", action="store_true", help="only what has no record of this transformers")
    parser.add_argument("--figures", action="store_true", help="figures anew; what is recorded of tokens stands")
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="every N-th, beginning with the K-th")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
