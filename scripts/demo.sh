#!/usr/bin/env bash
# The demo: questions an untrained tiny Llama, trains it on the bundled sample with ZeRO-3 in fp16 on two ranks, questions it
# again. Exits with 1 when the answers are not good enough (mean exact match 85 %, every family 60 %).
set -euo pipefail
cd "$(dirname "$0")/.."
output=${DEMO_OUTPUT:-runs/demo}
train=(mpirun -np 2 ./llama_zero --config ds_config_zero3.json --micro-batch 120 --epochs 16 --output "$output")

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
