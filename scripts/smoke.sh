#!/usr/bin/env bash
# A short run in one process, without mpirun: 30 steps in fp16, of the 125M model on a GPU and of the tiny one on a CPU. Passes
# when the loss fell, no step was skipped after the loss scale had settled, and, on a GPU, the driver counts as much memory as
# was predicted, within 3 %.
set -euo pipefail
cd "$(dirname "$0")/.."
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
run=(./llama_zero --precision fp16 --max-steps 30 --output "$output/smoke")

device=cuda
if ! "${run[@]}" --device cuda --model 125m --micro-batch 64 > "$output/log" 2>&1; then
  if ! grep -q "CUDA cannot be used" "$output/log"; then
    cat "$output/log"
    exit 1
  fi
  sed -nE 's/.*(CUDA cannot be used: .*);.*/\1/p' "$output/log"
  device=cpu
  "${run[@]}" --device cpu --model tiny --micro-batch 64 | tee "$output/log"
else
  cat "$output/log"
fi

sed -E 's/.*"step":([0-9]+),"loss":([^,]+),.*"skipped":(true|false).*/\1 \2 \3/' "$output/smoke/metrics.jsonl" > "$output/steps"
driver=$(sed -nE 's/^driver .*\(([+-][0-9.]+) %\)$/\1/p' "$output/log")
awk -v device="$device" -v driver="$driver" '
  { if (NR == 1) first = $2; last = $2; if ($1 > 5 && $3 == "true") late += 1 }
  END { memory = device == "cpu" || (driver != "" && driver > -3 && driver < 3)
        ok = NR == 30 && last < first && late == 0 && memory
        printf "%s on %s: %d steps, loss %s -> %s, %d steps skipped after step 5", ok ? "PASS" : "FAIL", device, NR, first, last, late
        if (device != "cpu") printf ", memory taken %s %% off the prediction", driver == "" ? "?" : driver
        printf "\n"; exit !ok }' "$output/steps"
