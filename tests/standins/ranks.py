"""One rank of a distributed program, for `torchrun --nproc-per-node=2 ranks.py FOLDER [fail|stay]`; gloo, no GPU.

Every rank adds up a one from each of them, says so in FOLDER/rank-N, and pretends as many kernels as its number plus
one, in the range `decode`. With `fail` the last rank exits with status 3 after that; with `stay` they do not end.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nvtx
import torch
import torch.distributed as dist

DOMAIN = "standin"  # run as a file of its own, so that it cannot import it from common.py


def main(folder: Path, manner: str) -> None:
    dist.init_process_group("gloo")
    rank, ranks = dist.get_rank(), dist.get_world_size()
    total = torch.ones(1)
    dist.all_reduce(total)
    with nvtx.annotate("decode"):
        for number in range(rank + 1):
            nvtx.mark(f"reduce_{number}", domain=DOMAIN)
    (folder / f"rank-{rank}").write_text(str(int(total)))
    if manner == "stay":
        time.sleep(600)
    if manner == "fail" and rank == ranks - 1:
        sys.exit(3)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "")
