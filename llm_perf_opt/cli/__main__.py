"""`python -m llm_perf_opt.cli`: the command, for where it must be that of this very interpreter."""

from llm_perf_opt.cli.main import main

main()
