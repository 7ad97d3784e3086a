"""Faults and hostile files, seeded, and what a run, its files and its exit code come to: docs/reliability.md.

    uv run python -m tests.campaign --faults 60 --inputs 2000 [--seed N] [--package CHECKOUT] [--write]

`inputs` gives damaged files to the real command line, each in a fork of a process (`server`) that has imported it;
`faults` kills, stops and starves real processes. What comes of either is judged by `judge` from files and exit codes
alone: it uses nothing of llmperf, so that any checkout of it can be tried.
"""
