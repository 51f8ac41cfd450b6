#!/usr/bin/env bash
# Runs every test executable of a build folder through ctest, and ends with one line of totals over all test cases.
# Usage: scripts/run_tests.sh BUILD_FOLDER [ctest arguments]
set -uo pipefail
build=$1
shift

log=$(mktemp)
trap 'rm -f "$log"' EXIT
ctest --test-dir "$build" --no-tests=error "$@" -V > "$log" 2>&1
status=$?
if [[ $status -ne 0 ]]; then
  grep -vE '^(UpdateCTestConfiguration|Parse)' "$log"
else
  grep -E '^ *[0-9]+/[0-9]+ Test' "$log"
  grep -hE 'skipped:|SKIPPED' "$log" | sort -u
fi
grep -E '\[doctest\] test cases:' "$log" | sed -E 's/\x1b\[[0-9;]*m//g; s/.*test cases://' |
  awk '{ gsub(/[^0-9 ]/, " "); passed += $2; failed += $3; skipped += $4 }
       END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }'
exit $status
