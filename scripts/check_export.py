#!/usr/bin/env python3
"""Loss of an exported folder in transformers, to lay beside `llama_zero eval`. Never needed to build or test.

  venv/bin/python scripts/check_export.py FOLDER ALPACA.jsonl [LIMIT]      (pip install torch transformers sentencepiece)
  llama_zero eval --model FOLDER --data ALPACA.jsonl --limit LIMIT --dtype fp32
"""
import json
import sys

import sentencepiece
import torch
from transformers import AutoModelForCausalLM

OPENING = "Below is an instruction that describes a task{}. Write a response that appropriately completes the request.\n\n"
PAIRED = ", paired with an input that provides further context"


def prompt_of(row):
    given = row.get("input", "")
    text = OPENING.format(PAIRED if given else "") + "### Instruction:\n" + row["instruction"]
    return text + (f"\n\n### Input:\n{given}" if given else "") + "\n\n### Response:\n"


def main():
    folder, data = sys.argv[1:3]
    limit = int(sys.argv[3]) if len(sys.argv) > 3 else None
    pieces = sentencepiece.SentencePieceProcessor(folder + "/tokenizer.model")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    total, count = 0.0, 0
    with open(data, encoding="utf-8") as lines, torch.no_grad():
        for row in [json.loads(line) for line in lines][:limit]:
            prompt = [pieces.bos_id()] + pieces.encode(prompt_of(row))
            ids = torch.tensor([prompt + pieces.encode(row["output"]) + [pieces.eos_id()]])
            logits = model(input_ids=ids).logits[0, len(prompt) - 1:-1]
            total += torch.nn.functional.cross_entropy(logits, ids[0, len(prompt):], reduction="sum").item()
            count += ids.shape[1] - len(prompt)
    print(f"loss {total / count:.9f} over {count} tokens")


if __name__ == "__main__":
    main()
