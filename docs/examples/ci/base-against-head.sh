#!/usr/bin/env bash
# Is the head of a pull request slower than its base? Both are launched in turn, on one machine, in one job.
#
#   base-against-head.sh BASE HEAD OUTPUT [arguments of llmperf ab…]
#
# BASE and HEAD are uv projects that depend on llm-perf-opt. Run it in a folder that holds neither as a package: Python
# looks there first. The comparison goes to OUTPUT/comparison, and as Markdown to the summary of a GitHub job.
# Exit code: 0 every gate passed, 4 one was crossed, 5 one could not be decided, 1 to 3 something failed.
set -uo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 BASE HEAD OUTPUT [arguments of llmperf ab...]" >&2
    exit 2
fi
base=$1 head=$2 output=$3
shift 3

code=0
uv run --quiet --project "$head" llmperf ab "$@" \
    --prefix-a "uv run --quiet --project '$base'" \
    --prefix-b "uv run --quiet --project '$head'" \
    --output "$output" || code=$?

markdown=$output/comparison/comparison.md
if [ -f "$markdown" ] && [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
    cat "$markdown" >>"$GITHUB_STEP_SUMMARY"
fi
exit "$code"
