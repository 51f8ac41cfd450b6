#!/usr/bin/env bash
# A short run in one process, without mpirun: 30 steps of the tiny model in fp16. Passes when the loss fell and no step was
# skipped after the loss scale had settled.
set -euo pipefail
cd "$(dirname "$0")/.."
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
./llama_zero --model tiny --precision fp16 --micro-batch 64 --max-steps 30 --output "$output/smoke"
sed -E 's/.*"step":([0-9]+),"loss":([^,]+),.*"skipped":(true|false).*/\1 \2 \3/' "$output/smoke/metrics.jsonl" |
  awk '{ if (NR == 1) first = $2; last = $2; if ($1 > 5 && $3 == "true") late += 1 }
       END { ok = NR == 30 && last < first && late == 0
             printf "%s: %d steps, loss %s -> %s, %d steps skipped after step 5\n", ok ? "PASS" : "FAIL", NR, first, last, late
             exit !ok }'
