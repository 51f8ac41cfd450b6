#!/usr/bin/env bash
# The demo: questions an untrained tiny Llama, trains it on the bundled sample with ZeRO-3 in fp16 on two ranks (one where
# there is one GPU: ranks that share it would wait for each other), questions it again.
# Exits with 1 when the answers are not good enough (mean exact match 85 %, every family 60 %).
set -euo pipefail
cd "$(dirname "$0")/.."
output=${DEMO_OUTPUT:-runs/demo}
ranks=2
[[ "$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')" == 1 ]] && ranks=1
train=(mpirun -np "$ranks" ./llama_zero --config ds_config_zero3.json --micro-batch $((240 / ranks)) --epochs 16
  --output "$output")

echo "== 1. The untrained model"
./llama_zero eval --model tiny --show 2
echo
echo "== 2. Training: ${train[*]}"
rm -rf "$output"
start=$SECONDS
"${train[@]}"
echo "training took $((SECONDS - start)) s"
echo
echo "== 3. The trained model"
./llama_zero eval --model "$output/final" --show 5 --min-exact-match 85 --min-family 60
echo
echo "Ask it yourself: ./llama_zero generate --model $output/final --instruction \"What is the capital of France?\""
