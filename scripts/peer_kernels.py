"""PyTorch's times for the memory-bound ops of a Llama step, eager and compiled: python3 scripts/peer_kernels.py

Shapes and bytes as in the table of docs/performance.md: 8,192 tokens, hidden 4096, intermediate 11008, vocabulary 32000 in
chunks of 2,048 rows, fp16; AdamW over 2^28 numbers. Median of 30 with events; 512 MiB are cleared before each sample.
"""
import torch
import torch.nn.functional as F

TOKENS, HIDDEN, INNER, VOCAB, ROWS, HEADS, DIM = 8192, 4096, 11008, 32000, 2048, 32, 128
MIB = 1 << 20


def median_us(work, samples=30):
    cleared = torch.empty(512 * MIB, device="cuda", dtype=torch.uint8)
    times = []
    for i in range(samples + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        cleared.zero_()
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3)
    return sorted(times[3:])[samples // 2]


def tensor(*shape, grad=False, dtype=torch.half):
    return torch.randn(shape, device="cuda", dtype=dtype, requires_grad=grad)


def rmsnorm(x, weight):
    y = x.float()
    return (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * weight


def add_rmsnorm(x, residual, weight):
    total = x + residual
    return total, rmsnorm(total, weight)


def swiglu(gate_up):
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up


def rope(heads, cos, sin):
    low, high = heads.chunk(2, -1)
    return heads * cos + torch.cat((-high, low), -1) * sin


def cross_entropy(logits, targets):
    return F.cross_entropy(logits.float(), targets)


def backward(function, inputs, wanted):
    """Time of the gradients alone."""
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    grads = [torch.randn_like(output) for output in outputs]
    return lambda: torch.autograd.grad(outputs, wanted, grads, retain_graph=True)


def cases(wrap):
    """Name, work, bytes that must move."""
    x, residual = (tensor(TOKENS, HIDDEN, grad=True) for _ in range(2))
    weight = tensor(HIDDEN, grad=True)
    row_bytes = 2 * TOKENS * HIDDEN
    table = tensor(VOCAB, HIDDEN, grad=True)
    tokens = (torch.rand(TOKENS, device="cuda") ** 3 * VOCAB).long()
    gate_up = tensor(TOKENS, 2 * INNER, grad=True)
    logits = tensor(ROWS, VOCAB, grad=True)
    targets = torch.randint(0, VOCAB, (ROWS,), device="cuda")
    heads = tensor(TOKENS, 2 * HEADS, DIM)
    cos, sin = tensor(TOKENS, 1, DIM), tensor(TOKENS, 1, DIM)
    norm, add, gate, turn, loss = map(wrap, (rmsnorm, add_rmsnorm, swiglu, rope, cross_entropy))

    def quiet(function, *inputs):
        def work():
            with torch.no_grad():
                function(*inputs)
        return work

    yield "embedding forward", quiet(F.embedding, tokens, table), 2 * row_bytes
    yield "embedding backward", backward(lambda t: F.embedding(tokens, t), (table,), (table,)), row_bytes + 2 * VOCAB * HIDDEN
    yield "rmsnorm forward + residual", quiet(add, x, residual, weight), 4 * row_bytes
    yield "rmsnorm forward", quiet(norm, x, weight), 2 * row_bytes
    yield "rmsnorm backward + residual", backward(add, (x, residual, weight), (x, weight)), 4 * row_bytes
    yield "rmsnorm backward", backward(norm, (x, weight), (x, weight)), 3 * row_bytes
    yield "rope", quiet(turn, heads, cos, sin), 4 * row_bytes
    yield "swiglu forward", quiet(gate, gate_up), 6 * TOKENS * INNER
    yield "swiglu backward", backward(gate, (gate_up,), (gate_up,)), 10 * TOKENS * INNER
    yield "cross-entropy", lambda: torch.autograd.grad(loss(logits, targets), logits), 4 * ROWS * VOCAB
    yield "cross-entropy, forward only", quiet(loss, logits, targets), 2 * ROWS * VOCAB


def main():
    source = torch.empty(512 * MIB, device="cuda", dtype=torch.uint8)
    copied = torch.empty_like(source)
    copy = 2 * source.numel() / median_us(lambda: copied.copy_(source))
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; copy {copy / 1e3:.0f} GB/s")
    print("| op | eager us (of copy) | compiled us (of copy) |\n|---|---|---|")
    for (name, eager, moved), (_, compiled, _) in zip(cases(lambda f: f), cases(torch.compile)):
        times = [median_us(work) for work in (eager, compiled)]
        print("| " + " | ".join([name] + [f"{us:.1f} ({moved / us / copy:.0%})" for us in times]) + " |", flush=True)
    parameter = torch.nn.Parameter(tensor(1 << 28, dtype=torch.float32))
    parameter.grad = torch.randn_like(parameter)
    optimizer = torch.optim.AdamW([parameter], fused=True)
    us = median_us(optimizer.step, samples=10)
    print(f"| adamw, 2^28 elements (fused, fp32 gradient) | {us:.1f} ({28 * parameter.numel() / us / copy:.0%}) | |")


if __name__ == "__main__":
    main()
