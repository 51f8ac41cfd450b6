#!/usr/bin/env bash
# Installs what the build needs and this machine lacks, with apt (Debian 12 or Ubuntu 22.04 and later). Does nothing, and
# asks for no rights, when all is there. CUDA is never installed: it is used when nvcc is found, else the CPU backend is built.
# Where nvcc and cuDNN's headers are, the headers of cuDNN's frontend are fetched from PyPI into the build folder (the first
# argument, "build" without one); without them flash attention serves.
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

readonly frontend=nvidia-cudnn-frontend==1.23.0
fetch_cudnn_frontend() {
  local to=$1/cudnn-frontend nvcc wheels
  [[ -f $to/include/cudnn_frontend.h ]] && return
  nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null) || return 0
  [[ -f $(dirname "$nvcc")/../include/cudnn.h || -f /usr/include/cudnn.h ||
     -f /usr/include/$(uname -m)-linux-gnu/cudnn.h ]] || return 0
  wheels=$(mktemp -d)
  # Headers are the same in the wheels of all platforms.
  if python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
       --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 -d "$wheels" "$frontend" >/dev/null 2>&1; then
    mkdir -p "$to"
    python3 -c 'import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith("include/")])' \
      "$wheels"/*.whl "$to"
    echo "install_deps: fetched the headers of $frontend"
  else
    echo "install_deps: could not fetch $frontend with pip: building without cuDNN, flash attention serves" >&2
  fi
  rm -rf "$wheels"
}
fetch_cudnn_frontend "${1:-build}"

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
