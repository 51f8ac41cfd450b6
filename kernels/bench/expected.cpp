#include "kernels/bench/expected.h"

#include <cmath>
#include <numeric>

#include "kernels/bench/host_tensor.h"

namespace llama_zero::bench {
namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// value(row, column) at the sampled places of a matrix.
template <typename Value>
Expected matrix(std::int64_t rows, std::int64_t columns, Value value) {
  Expected expected;
  const std::int64_t row_count = std::min(rows, kRows);
  for (const std::int64_t row : places(rows, row_count)) {
    for (const std::int64_t column : places(columns, kSamples / row_count)) {
      expected.add(row * columns + column, value(row, column));
    }
  }
  return expected;
}

/// value(index) at the sampled places of a flat tensor.
template <typename Value>
Expected flat(std::int64_t count, Value value) {
  Expected expected;
  for (const std::int64_t index : places(count, kSamples)) expected.add(index, value(index));
  return expected;
}

/// Keeps the row that was asked for last: samples come row by row.
template <typename Make>
class RowCache {
 public:
  explicit RowCache(Make make) : make_(std::move(make)) {}
  const std::vector<double>& operator()(std::int64_t row) {
    if (row != row_) {
      values_ = make_(row);
      row_ = row;
    }
    return values_;
  }

 private:
  Make make_;
  std::int64_t row_ = -1;
  std::vector<double> values_;
};

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

}  // namespace

Expectation expected(Backend& backend, const EmbeddingForward& args) {
  const HostTensor tokens(backend, args.tokens);
  const HostTensor table(backend, args.table);
  return {matrix(args.tokens_count, args.hidden_size,
                 [&](auto t, auto h) { return table.at(tokens.id(t) * args.hidden_size + h); })};
}

Expectation expected(Backend& backend, const EmbeddingBackward& args) {
  const HostTensor tokens(backend, args.tokens);
  const HostTensor gradient(backend, args.grad_output);
  RowCache row([&](std::int64_t token) {
    std::vector<double> sum(static_cast<std::size_t>(args.hidden_size));
    for (std::int64_t t = 0; t < args.tokens_count; ++t) {
      if (tokens.id(t) != token) continue;
      const std::vector<double> values = gradient.row(t, args.hidden_size);
      for (std::size_t h = 0; h < sum.size(); ++h) sum[h] += values[h];
    }
    return sum;
  });
  return {
      matrix(args.vocab_size, args.hidden_size, [&](auto v, auto h) { return row(v)[static_cast<std::size_t>(h)]; })};
}

Expectation expected(Backend& backend, const RmsNormForward& args) {
  const HostTensor input(backend, args.input);
  const HostTensor residual(backend, args.residual);
  const HostTensor weight(backend, args.weight);
  const std::int64_t hidden = args.hidden_size;
  RowCache sum([&](std::int64_t t) {
    std::vector<double> values = input.row(t, hidden);
    if (residual.numel() == 0) return values;
    const std::vector<double> added = residual.row(t, hidden);
    for (std::size_t h = 0; h < values.size(); ++h) values[h] += added[h];
    return values;
  });
  const auto rstd = [&](std::int64_t t) {
    return 1.0 / std::sqrt(dot(sum(t), sum(t)) / static_cast<double>(hidden) + args.eps);
  };
  RowCache output([&](std::int64_t t) {
    std::vector<double> values = sum(t);
    const double factor = rstd(t);
    for (std::size_t h = 0; h < values.size(); ++h) values[h] *= factor * weight.at(static_cast<std::int64_t>(h));
    return values;
  });
  Expectation all;
  if (args.sum) {
    all.push_back(
        matrix(args.tokens_count, hidden, [&](auto t, auto h) { return sum(t)[static_cast<std::size_t>(h)]; }));
  }
  all.push_back(
      matrix(args.tokens_count, hidden, [&](auto t, auto h) { return output(t)[static_cast<std::size_t>(h)]; }));
  all.push_back(matrix(args.tokens_count, 1, [&](auto t, auto) { return rstd(t); }));
  return all;
}

Expectation expected(Backend& backend, const RmsNormBackward& args) {
  const HostTensor gradient(backend, args.grad_output);
  const HostTensor input(backend, args.input);
  const HostTensor weight(backend, args.weight);
  const HostTensor rstd(backend, args.rstd);
  const HostTensor residual(backend, args.grad_residual);
  const std::int64_t hidden = args.hidden_size;
  RowCache grad_input([&](std::int64_t t) {
    const std::vector<double> g = gradient.row(t, hidden);
    const std::vector<double> x = input.row(t, hidden);
    const std::vector<double> w = weight.range(0, hidden);
    std::vector<double> result(g.size());
    double mean = 0.0;
    for (std::size_t h = 0; h < g.size(); ++h) mean += w[h] * g[h] * x[h] / static_cast<double>(hidden);
    const double r = rstd.at(t);
    for (std::size_t h = 0; h < g.size(); ++h) result[h] = r * (w[h] * g[h] - x[h] * r * r * mean);
    if (residual.numel() == 0) return result;
    const std::vector<double> added = residual.row(t, hidden);
    for (std::size_t h = 0; h < g.size(); ++h) result[h] += added[h];
    return result;
  });
  return {matrix(args.tokens_count, hidden, [&](auto t, auto h) { return grad_input(t)[static_cast<std::size_t>(h)]; }),
          matrix(1, hidden, [&](auto, auto h) {
            double sum = 0.0;
            for (std::int64_t t = 0; t < args.tokens_count; ++t) {
              sum += gradient.at(t * hidden + h) * input.at(t * hidden + h) * rstd.at(t);
            }
            return sum;
          })};
}

Expectation expected(Backend& backend, const LinearForward& args) {
  const HostTensor input(backend, args.input);
  const HostTensor weight(backend, args.weight);
  RowCache row([&](std::int64_t t) { return input.row(t, args.in_features); });
  return {matrix(args.rows, args.out_features,
                 [&](auto t, auto n) { return dot(row(t), weight.row(n, args.in_features)); })};
}

Expectation expected(Backend& backend, const LinearBackwardInput& args) {
  const HostTensor gradient(backend, args.grad_output);
  const HostTensor weight(backend, args.weight);
  RowCache row([&](std::int64_t t) { return gradient.row(t, args.out_features); });
  return {matrix(args.rows, args.in_features, [&](auto t, auto k) {
    double sum = 0.0;
    for (std::int64_t n = 0; n < args.out_features; ++n) {
      sum += row(t)[static_cast<std::size_t>(n)] * weight.at(n * args.in_features + k);
    }
    return sum;
  })};
}

Expectation expected(Backend& backend, const LinearBackwardWeight& args) {
  const HostTensor gradient(backend, args.grad_output);
  const HostTensor input(backend, args.input);
  RowCache column([&](std::int64_t n) {
    std::vector<double> values;
    for (std::int64_t t = 0; t < args.rows; ++t) values.push_back(gradient.at(t * args.out_features + n));
    return values;
  });
  return {matrix(args.out_features, args.in_features, [&](auto n, auto k) {
    double sum = 0.0;
    for (std::int64_t t = 0; t < args.rows; ++t) {
      sum += column(n)[static_cast<std::size_t>(t)] * input.at(t * args.in_features + k);
    }
    return sum;
  })};
}

Expectation expected(Backend& backend, const Rope& args) {
  const HostTensor qkv(backend, args.qkv);
  const HostTensor positions(backend, args.positions);
  const HostTensor table(backend, args.cos_sin);
  const std::int64_t width = (args.query_heads + 2 * args.kv_heads) * args.head_dim;
  const std::int64_t rotated = (args.query_heads + args.kv_heads) * args.head_dim;
  const std::int64_t half = args.head_dim / 2;
  return {matrix(args.tokens_count, width, [&](auto t, auto c) {
    const double value = qkv.at(t * width + c);
    if (c >= rotated) return value;
    const std::int64_t in_head = c % args.head_dim;
    const std::int64_t pair = in_head % half;
    const std::int64_t entry = (positions.id(t) * half + pair) * 2;
    const double cosine = table.at(entry);
    const double sine = args.inverse ? -table.at(entry + 1) : table.at(entry + 1);
    if (in_head < half) return value * cosine - qkv.at(t * width + c + half) * sine;
    return value * cosine + qkv.at(t * width + c - half) * sine;
  })};
}

Expectation expected(Backend& backend, const SwiGluForward& args) {
  const HostTensor gate_up(backend, args.gate_up);
  const std::int64_t width = args.intermediate_size;
  return {matrix(args.tokens_count, width, [&](auto t, auto i) {
    const double gate = gate_up.at(2 * t * width + i);
    return gate * sigmoid(gate) * gate_up.at((2 * t + 1) * width + i);
  })};
}

Expectation expected(Backend& backend, const SwiGluBackward& args) {
  const HostTensor gradient(backend, args.grad_output);
  const HostTensor gate_up(backend, args.gate_up);
  const std::int64_t width = args.intermediate_size;
  return {matrix(args.tokens_count, 2 * width, [&](auto t, auto c) {
    const std::int64_t i = c % width;
    const double gate = gate_up.at(2 * t * width + i);
    const double up = gate_up.at((2 * t + 1) * width + i);
    const double g = gradient.at(t * width + i);
    const double s = sigmoid(gate);
    return c < width ? g * up * s * (1.0 + gate * (1.0 - s)) : g * gate * s;
  })};
}

Expectation expected(Backend& backend, const CrossEntropy& args) {
  const HostTensor logits(backend, args.logits);
  const HostTensor targets(backend, args.targets);
  const std::int64_t vocab = args.vocab_size;
  const auto log_sum = [&](std::int64_t t) {
    const std::vector<double> row = logits.row(t, vocab);
    const double most = *std::ranges::max_element(row);
    double sum = 0.0;
    for (const double value : row) sum += std::exp(value - most);
    return most + std::log(sum);
  };
  RowCache gradient([&](std::int64_t t) {
    std::vector<double> row = logits.row(t, vocab);
    const double total = log_sum(t);
    for (double& value : row) value = std::exp(value - total) * args.seed_factor;
    row[static_cast<std::size_t>(targets.id(t))] -= args.seed_factor;
    return row;
  });
  Expectation all;
  if (!args.forward_only) {
    all.push_back(
        matrix(args.tokens_count, vocab, [&](auto t, auto v) { return gradient(t)[static_cast<std::size_t>(v)]; }));
  }
  all.push_back(
      matrix(args.tokens_count, 1, [&](auto t, auto) { return log_sum(t) - logits.at(t * vocab + targets.id(t)); }));
  return all;
}

Expectation expected(Backend& backend, const Cast& args) {
  const HostTensor source(backend, args.source);
  return {flat(source.numel(), [&](auto i) { return source.at(i) * args.factor; })};
}

Expectation expected(Backend& backend, const Add& args) {
  const HostTensor source(backend, args.source);
  const HostTensor old(backend, args.destination);
  return {flat(source.numel(), [&](auto i) { return old.at(i) + source.at(i); })};
}

Expectation expected(Backend&, const Fill& args) {
  return {flat(args.destination.numel(), [&](auto) { return args.value; })};
}

Expectation expected(Backend& backend, const ReducePieces& args) {
  const HostTensor pieces(backend, args.pieces);
  const std::int64_t count = args.output.numel();
  return {flat(count, [&](auto i) {
    double sum = 0.0;
    for (std::int64_t rank = 0; rank < args.ranks; ++rank) sum += pieces.at(rank * count + i);
    return sum * args.factor;
  })};
}

Expectation expected(Backend& backend, const SumOfSquares& args) {
  const HostTensor values(backend, args.values);
  constexpr std::int64_t kChunk = std::int64_t{1} << 20;
  double sum = 0.0;
  for (std::int64_t begin = 0; begin < values.numel(); begin += kChunk) {
    const std::vector<double> part = values.range(begin, std::min(kChunk, values.numel() - begin));
    sum += dot(part, part);
  }
  return {flat(2, [&](auto i) { return i == 0 ? sum : 0.0; })};
}

Expectation expected(Backend& backend, const SumLosses& args) {
  const HostTensor values(backend, args.values);
  const std::vector<double> all = values.range(0, values.numel());
  return {flat(1, [&](auto) { return std::accumulate(all.begin(), all.end(), 0.0); })};
}

}  // namespace llama_zero::bench
