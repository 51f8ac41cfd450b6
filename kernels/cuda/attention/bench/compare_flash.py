"""Our attention beside PyTorch's FlashAttention-2, in one run on one GPU: python3 compare_flash.py path/to/flash_bench

Dense cases go through scaled_dot_product_attention with the FlashAttention backend, packed documents through the
variable-length kernel behind it. Its backward adds to dQ with atomics; ours is deterministic. Rates count the unmasked
half of the scores, and 2.5 forwards a backward. A ratio above 1 means that ours is faster.
"""
import json
import subprocess
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def median_ms(work, repeats=30):
    times = []
    for i in range(repeats + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        if i >= 3:
            times.append(begin.elapsed_time(end))
    return sorted(times)[repeats // 2]


def dense(case):
    shape = (len(case["lengths"]), case["heads"], case["lengths"][0], case["head_dim"])
    q, k, v = (torch.randn(shape, device="cuda", dtype=torch.half, requires_grad=True) for _ in range(3))
    grad = torch.randn_like(q)
    forward = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        with torch.no_grad():
            forward_ms = median_ms(forward)
        output = forward()
        return forward_ms, median_ms(lambda: torch.autograd.grad(output, (q, k, v), grad, retain_graph=True))


def packed(case):
    tokens, longest = sum(case["lengths"]), max(case["lengths"])
    shape = (tokens, case["heads"], case["head_dim"])
    q, k, v, grad = (torch.randn(shape, device="cuda", dtype=torch.half) for _ in range(4))
    cu = torch.tensor([0] + case["lengths"], device="cuda").cumsum(0).to(torch.int32)
    forward = lambda: torch.ops.aten._flash_attention_forward(q, k, v, cu, cu, longest, longest, 0.0, True, False)
    output, sums, rng, unused, _ = forward()
    backward = lambda: torch.ops.aten._flash_attention_backward(
        grad, q, k, v, output, sums, cu, cu, longest, longest, 0.0, True, rng, unused)
    return median_ms(forward), median_ms(backward)


def main():
    ours = subprocess.run([sys.argv[1]], check=True, capture_output=True, text=True).stdout.splitlines()
    print(ours[0], "torch", torch.__version__)
    print(f"{'case':>10} {'D':>4} {'pass':>9} {'ours ms':>9} {'TFLOP/s':>8} {'FA2 ms':>9} {'TFLOP/s':>8} {'ratio':>6}")
    for line in ours[1:]:
        case = json.loads(line)
        peer = (packed if len(set(case["lengths"])) > 1 else dense)(case)
        for name, peer_ms, flops in zip(("forward", "backward"), peer, (case["flops"], 2.5 * case["flops"])):
            ms = case[name + "_ms"]
            print(f"{case['case']:>10} {case['head_dim']:>4} {name:>9} {ms:9.4f} {flops / ms / 1e9:8.1f} "
                  f"{peer_ms:9.4f} {flops / peer_ms / 1e9:8.1f} {peer_ms / ms:6.2f}", flush=True)


if __name__ == "__main__":
    main()
