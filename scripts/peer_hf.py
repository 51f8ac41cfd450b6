#!/usr/bin/env python3
"""The peer of scripts/bench_step: full fine-tuning of a Llama-2 shape with Hugging Face transformers and PyTorch.

Weights and gradients in 16 bits, master weights and moments in fp32 (16 bytes a parameter, what DeepSpeed's fp16 engine
keeps), fused AdamW, gradient clipping, loss scaling, accumulation to the same number of tokens a step, random tokens.
Prints one JSON object. PyTorch and transformers are needed by this script only.
"""

import argparse
import json
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {  # hidden, intermediate, layers, heads
    "125m": (768, 2048, 12, 12),
    "1.3b": (2048, 5504, 24, 16),
    "llama2-7b": (4096, 11008, 32, 32),
}
VOCABULARY = 32000
PEAK_FLOPS = 989e12  # dense fp16 of an H100 or H200, NVIDIA's data sheet
LOSS_SCALE = 2.0**12
CLIP = 1.0


def make_model(shape, dtype, sequence):
    hidden, intermediate, layers, heads = SHAPES[shape]
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=max(4096, sequence),
        use_cache=False,
        attn_implementation="sdpa",
    )
    torch.set_default_dtype(dtype)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return model.train(), config


class MixedPrecisionAdamW:
    """fp32 masters beside 16-bit parameters: unscale, clip, update, copy back; a step with an overflow is left out."""

    def __init__(self, params):
        self.params = params
        self.masters = [p.detach().float().clone() for p in params]
        self.adamw = torch.optim.AdamW(self.masters, lr=2e-5, weight_decay=0.01, fused=True)
        self.skipped = 0

    def step(self):
        grads = [p.grad for p in self.params]
        norm = torch.stack(torch._foreach_norm(grads)).float().norm()
        if torch.isfinite(norm).item():
            factor = 1.0 / (LOSS_SCALE * torch.clamp(norm / LOSS_SCALE / CLIP, min=1.0))
            for master, param in zip(self.masters, self.params):
                master.grad, param.grad = param.grad.float().mul_(factor), None
            self.adamw.step()
            with torch.no_grad():
                torch._foreach_copy_(self.params, self.masters)
            self.adamw.zero_grad(set_to_none=True)
        else:
            self.skipped += 1
        for param in self.params:
            param.grad = None


def measure(args):
    torch.manual_seed(0)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[args.dtype]
    model, config = make_model(args.shape, dtype, args.sequence)
    if args.full_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = MixedPrecisionAdamW(params)
    forward = torch.compile(model) if args.compile else model
    passes = max(1, args.tokens_per_step // (args.micro_batch * args.sequence))
    tokens = torch.randint(0, VOCABULARY, (passes, args.micro_batch, args.sequence), device="cuda")

    def step():
        for rows in tokens:
            loss = forward(input_ids=rows, labels=rows).loss
            (loss.float() * (LOSS_SCALE / passes)).backward()
        optimizer.step()
        return loss

    for _ in range(args.warm_ups):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(args.steps):
        start = time.perf_counter()
        loss = step()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    times.sort()
    median = times[len(times) // 2]
    spread = (times[(len(times) - 1) * 9 // 10] - times[(len(times) - 1) // 10]) / median

    count = sum(p.numel() for p in params)
    per_token = 6 * (count - VOCABULARY * config.hidden_size)
    per_token += 6 * config.num_hidden_layers * config.hidden_size * args.sequence  # causal attention, half counted
    rate = tokens.numel() / median
    return {
        "program": "Hugging Face, compiled" if args.compile else "Hugging Face, eager",
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "shape": args.shape,
        "parameters": count,
        "dtype": args.dtype,
        "sequence": args.sequence,
        "micro_batch": args.micro_batch,
        "tokens_per_step": tokens.numel(),
        "steps": args.steps,
        "step_ms": median * 1e3,
        "step_spread": spread,
        "tokens_per_s": rate,
        "mfu": per_token * rate / PEAK_FLOPS,
        "memory_gb": torch.cuda.max_memory_allocated() * 1e-9,
        "last_loss": loss.item(),
        "skipped": optimizer.skipped,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="125m")
    parser.add_argument("--sequence", type=int, default=1024)
    parser.add_argument("--micro-batch", type=int, default=16)
    parser.add_argument("--tokens-per-step", type=int, default=65536)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-ups", type=int, default=4)
    parser.add_argument("--dtype", choices=("fp16", "bf16"), default="fp16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--full-checkpointing", action="store_true")
    args = parser.parse_args()
    try:
        print(json.dumps(measure(args)), flush=True)
    except torch.OutOfMemoryError:
        name = "Hugging Face, compiled" if args.compile else "Hugging Face, eager"
        print(json.dumps({"program": name, "shape": args.shape, "out_of_memory": True}), flush=True)


if __name__ == "__main__":
    main()
