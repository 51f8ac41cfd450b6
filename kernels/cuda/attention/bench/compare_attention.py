"""Our attention beside PyTorch's FlashAttention-2, in one run on one GPU: python3 compare_attention.py path/to/attention_bench

Dense cases go through scaled_dot_product_attention with the FlashAttention backend, packed documents through the
variable-length kernel behind it. Its backward adds to dQ with atomics; ours, flash and cuDNN, are deterministic. Rates
count the unmasked half of the scores, and 2.5 forwards a backward. Ratios: FlashAttention-2's time over ours.
"""
import json
import subprocess
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def median_ms(work, repeats=30):
    """As attention_bench does: the cleared memory empties the cache and lets the host run ahead."""
    cleared = torch.empty(512 << 20, device="cuda", dtype=torch.uint8)
    times = []
    for i in range(repeats + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        cleared.zero_()
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
    heads = {"q": case["heads"], "k": case["kv_heads"], "v": case["kv_heads"], "grad": case["heads"]}
    q, k, v, grad = (torch.randn(tokens, n, case["head_dim"], device="cuda", dtype=torch.half) for n in heads.values())
    cu = torch.tensor([0] + case["lengths"], device="cuda").cumsum(0).to(torch.int32)
    forward = lambda: torch.ops.aten._flash_attention_forward(q, k, v, cu, cu, longest, longest, 0.0, True, False)
    output, sums, rng, unused, _ = forward()
    backward = lambda: torch.ops.aten._flash_attention_backward(
        grad, q, k, v, output, sums, cu, cu, longest, longest, 0.0, True, rng, unused)
    return median_ms(forward), median_ms(backward)


def ours(bench, choice):
    lines = subprocess.run([bench, choice], check=True, capture_output=True, text=True).stdout.splitlines()
    return lines[0], [json.loads(line) for line in lines[1:]]


def main():
    title, flash = ours(sys.argv[1], "flash")
    cudnn = ours(sys.argv[1], "cudnn")[1]
    print(title, "torch", torch.__version__)
    print("| D | case | pass | flash ms (TFLOP/s) | cuDNN ms (TFLOP/s) | FA2 ms | ratio flash | ratio cuDNN |\n" + "|---" * 8 + "|")
    for case, other in zip(flash, cudnn):
        peer = (packed if len(set(case["lengths"])) > 1 else dense)(case)
        for name, peer_ms, flops in zip(("forward", "backward"), peer, (case["flops"], 2.5 * case["flops"])):
            a, b = case[name + "_ms"], other[name + "_ms"]
            print(f"| {case['head_dim']} | {case['case']} | {name} | {a:.3f} ({flops / a / 1e9:.0f}) | {b:.3f} "
                  f"({flops / b / 1e9:.0f}) | {peer_ms:.3f} | {peer_ms / a:.2f} | {peer_ms / b:.2f} |", flush=True)


if __name__ == "__main__":
    main()
