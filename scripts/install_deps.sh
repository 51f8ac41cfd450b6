#!/usr/bin/env bash
# Installs what the build needs and this machine lacks, with apt (Debian 12 or Ubuntu 22.04 and later). Does nothing, and
# asks for no rights, when all is there. CUDA is never installed: it is used when nvcc is found, else the CPU backend is built.
set -euo pipefail

packages=(
  g++ cmake ninja-build ccache pkg-config make
  openmpi-bin libopenmpi-dev libopenblas-dev
  libsentencepiece-dev libsimdjson-dev nlohmann-json3-dev libfmt-dev libspdlog-dev libcli11-dev libxxhash-dev
  doctest-dev
)

missing=()
for package in "${packages[@]}"; do
  [[ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null)" == ii* ]] || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "install_deps: no apt-get here; install by hand: ${missing[*]}" >&2
  exit 1
fi
run=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "install_deps: run as root once: apt-get install ${missing[*]}" >&2; exit 1; }
  run=(sudo)
fi
echo "install_deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -qq
"${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
