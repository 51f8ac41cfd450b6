#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each for SECONDS (default 60) from its committed seeds.
# Usage: scripts/fuzz.sh [SECONDS]; what was found stays in build-fuzz/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
build=build-fuzz

if ! command -v clang++ >/dev/null; then
  echo "fuzz: installing clang"
  as_root=$([[ $(id -u) -eq 0 ]] || echo sudo)
  $as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq clang >/dev/null
fi

generator=$(command -v ninja >/dev/null && echo Ninja || echo "Unix Makefiles")
cmake -S tests/fuzz -B $build -G "$generator" -DCMAKE_CXX_COMPILER=clang++ > $build.configure.log 2>&1 ||
  { cat $build.configure.log; exit 1; }
rm -f $build.configure.log
cmake --build $build -j "$(nproc)"

mkdir -p $build/findings
failed=0
for source in tests/fuzz/fuzz_*.cpp; do
  target=$(basename "$source" .cpp)
  corpus=$build/corpus/${target#fuzz_}
  mkdir -p "$corpus"
  log=$build/$target.log
  if $build/"$target" "$corpus" tests/fuzz/corpus/"${target#fuzz_}" -max_total_time="$seconds" -timeout=20 \
      -rss_limit_mb=3000 -artifact_prefix=$build/findings/"$target"- > "$log" 2>&1; then
    echo "$target: clean, $(grep -oE '^Done [0-9]+ runs' "$log" | tail -1)"
  else
    echo "$target: FAILED; the end of $log:"
    tail -n 25 "$log"
    failed=1
  fi
done
exit $failed
