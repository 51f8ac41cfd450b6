#!/usr/bin/env python3
"""Writes tests/data/golden: what PyTorch and transformers compute for a few tiny Llamas. Never needed to build or test.

  python3 -m venv venv && venv/bin/pip install torch transformers safetensors
  venv/bin/python scripts/make_golden.py

Weights and tokens follow from integer hashes that tests/golden/rule.h repeats to the bit, so fixtures hold results only:
  NAME.json          the model's config.json as transformers writes it, documents, loss, greedy continuations, a training
                     run of 20 steps, and the spread that transformers itself shows in fp16 and bf16 against fp32
  NAME.safetensors   logits of every token (or of the last ones) and the gradient of every parameter, fp32
"""
import json
import math
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "golden"
MASK = (1 << 64) - 1


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def hashes(name, count):
    """SplitMix64 (Steele, Lea and Flood, 2014) of the name's FNV-1a hash and the index."""
    index = np.arange(1, count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + index * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def weights(name, shape):
    """Uniform multiples of 2^-25 in [-1/4, 1/4); norms around 1. Every value is exact in fp32."""
    count = int(np.prod(shape))
    steps = (hashes(name, count) >> np.uint64(40)).astype(np.int64) - (1 << 23)
    values = steps.astype(np.float64) / (1 << 25)
    if len(shape) == 1:
        values = 1.0 + np.round(values * (1 << 23)) / (1 << 23)
    return torch.tensor(values.astype(np.float32).reshape(shape))


def document(case, number, length, vocab):
    return (hashes(f"{case}.document.{number}", length) % np.uint64(vocab)).astype(np.int64).tolist()


CASES = {
    "mha": dict(vocab_size=97, num_key_value_heads=4, lengths=[13, 9, 17]),
    "gqa": dict(vocab_size=101, num_key_value_heads=2, head_dim=16, rms_norm_eps=1e-6, lengths=[21, 8]),
    "tied": dict(vocab_size=64, num_key_value_heads=1, tie_word_embeddings=True, lengths=[12, 12, 5]),
    "odd_vocabulary": dict(vocab_size=131, num_key_value_heads=4, rope_theta=500000.0, lengths=[19, 11]),
    "rope_linear": dict(vocab_size=89, num_key_value_heads=2, lengths=[37, 6], head_dim=16,
                        rope=dict(rope_type="linear", factor=4.0)),
    "rope_llama3": dict(vocab_size=83, num_key_value_heads=2, lengths=[41, 7], head_dim=16,
                        rope=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                  original_max_position_embeddings=32)),
    "packed": dict(vocab_size=79, num_key_value_heads=2, lengths=[3, 16, 2, 8, 15, 5, 9, 4]),
    "long": dict(vocab_size=67, num_key_value_heads=2, head_dim=16, lengths=[3000], logits_of_last=8, training=False),
}
TRAINING = dict(lr=4e-3, betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1, warmup_min_lr=4e-4, warmup_max_lr=4e-3,
                warmup_num_steps=4, total_num_steps=24, warmup_type="linear", clip=2.2, steps=20, documents=8, micro_batch=2,
                accumulation=2)


def config_of(case):
    keys = {k: v for k, v in case.items() if k not in ("lengths", "rope", "logits_of_last", "training", "rope_theta")}
    rope = dict(rope_theta=case.get("rope_theta", 10000.0), **case.get("rope", dict(rope_type="default")))
    return transformers.LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                    max_position_embeddings=4096, rope_parameters=rope, architectures=["LlamaForCausalLM"],
                                    **keys)


def model_of(config, dtype=torch.float32):
    model = transformers.LlamaForCausalLM._from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(weights(name, tuple(parameter.shape)))
    return model.to(dtype).train()


def prompt_of(length):
    """The first third of a document is its prompt: masked, like its BOS."""
    return max(1, length // 3)


def forward(model, tokens):
    """Logits, and the sum of losses over the tokens after the prompt (in fp32, as transformers' loss is)."""
    ids = torch.tensor([tokens])
    logits = model(input_ids=ids).logits[0]
    prompt = prompt_of(len(tokens))
    loss = torch.nn.functional.cross_entropy(logits[prompt - 1:-1].float(), ids[0, prompt:], reduction="sum")
    return logits, loss


def evaluate(config, documents, dtype):
    model = model_of(config, dtype)
    logits, total = [], 0.0
    for tokens in documents:
        out, loss = forward(model, tokens)
        loss.backward()
        logits.append(out.detach().float())
        total += loss.item()
    gradients = {name: p.grad.float() for name, p in model.named_parameters()}
    return torch.cat(logits), total, gradients


def distance(a, b):
    return (torch.linalg.vector_norm((a - b).double()) / torch.linalg.vector_norm(b.double())).item()


def spread(reference, other):
    def whole(gradients):
        return torch.cat([g.flatten() for g in gradients.values()])

    return dict(logits=distance(other[0], reference[0]), loss=abs(other[1] / reference[1] - 1.0),
                gradient=distance(whole(other[2]), whole(reference[2])),
                gradients={name: distance(other[2][name], g) for name, g in reference[2].items()})


def greedy(config, documents, count=12):
    model = model_of(config).eval()
    model.generation_config.eos_token_id = None
    out = []
    for tokens in documents[:2]:
        prompt = tokens[:prompt_of(len(tokens)) + 2]
        ids = torch.tensor([prompt])
        result = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count, pad_token_id=0)
        out.append(dict(prompt=prompt, tokens=result[0, len(prompt):].tolist()))
    return out


def learning_rate(update):
    """WarmupDecayLR of applied update 1, 2, ...: DeepSpeed's counter is two behind and its first value is the minimum."""
    t, low, high = update - 2, TRAINING["warmup_min_lr"], TRAINING["warmup_max_lr"]
    warm, total = max(2, TRAINING["warmup_num_steps"]), TRAINING["total_num_steps"]
    if t < 0:
        return low
    factor = t / warm if t < warm else max(0.0, (total - t) / max(1.0, total - warm))
    return low + (high - low) * factor


def train(name, config):
    """20 steps of two micro-batches; the loss is the mean over the step's loss tokens."""
    model = model_of(config)
    groups = [dict(params=list(model.parameters()), weight_decay=TRAINING["weight_decay"])]
    optimizer = torch.optim.AdamW(groups, lr=TRAINING["lr"], betas=TRAINING["betas"], eps=TRAINING["eps"])
    lengths = [7 + 3 * (i % 5) for i in range(TRAINING["documents"])]
    documents = [document(name + ".train", i, n, config.vocab_size) for i, n in enumerate(lengths)]
    rows = TRAINING["micro_batch"] * TRAINING["accumulation"]
    losses, norms, rates = [], [], []
    for step in range(TRAINING["steps"]):
        batch = [documents[(step * rows + i) % len(documents)] for i in range(rows)]
        tokens = sum(len(d) - prompt_of(len(d)) for d in batch)
        optimizer.zero_grad()
        total = 0.0
        for begin in range(0, rows, TRAINING["micro_batch"]):
            loss = sum(forward(model, d)[1] for d in batch[begin:begin + TRAINING["micro_batch"]]) / tokens
            loss.backward()
            total += loss.item()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), TRAINING["clip"]).item())
        rates.append(learning_rate(step + 1))
        for group in optimizer.param_groups:
            group["lr"] = rates[-1]
        optimizer.step()
        losses.append(total)
    assert min(norms) < TRAINING["clip"] < max(norms), norms
    return dict(**TRAINING, lengths=lengths, losses=losses, grad_norms=norms, learning_rates=rates)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        config = config_of(case)
        documents = [document(name, i, n, config.vocab_size) for i, n in enumerate(case["lengths"])]
        reference = evaluate(config, documents, torch.float32)
        lower = {word: evaluate(config, documents, dtype)
                 for word, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16))}
        last = case.get("logits_of_last", reference[0].shape[0])
        fixture = dict(made_with=dict(torch=torch.__version__, transformers=transformers.__version__),
                       config=json.loads(config.to_json_string(use_diff=False)), lengths=case["lengths"], logits_of_last=last,
                       loss_sum=reference[1], spread={word: spread(reference, other) for word, other in lower.items()},
                       greedy=greedy(config, documents))
        if case.get("training", True):
            fixture["training"] = train(name, config)
        (OUT / f"{name}.json").write_text(json.dumps(fixture, indent=1) + "\n")
        tensors = {"gradient." + key: value.contiguous() for key, value in reference[2].items()}
        weights_file = OUT / f"{name}.safetensors"
        save_file({"logits": reference[0][-last:].contiguous(), **tensors}, weights_file)
        weights_file.chmod(0o644)
        run = fixture.get("training", {})
        print(f"{name}: loss {reference[1]:.4f}, logits spread fp16 {fixture['spread']['fp16']['logits']:.1e} bf16 "
              f"{fixture['spread']['bf16']['logits']:.1e}, loss of steps {run.get('losses', [math.nan])[0]:.4f} .. "
              f"{run.get('losses', [math.nan])[-1]:.4f}, norms {[round(n, 2) for n in run.get('grad_norms', [])]}")


if __name__ == "__main__":
    main()
