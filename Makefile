# The front door: each target installs what is missing, builds and runs. CMake does the work.
#
#   make            build ./llama_zero and ./kernel_bench
#   make demo       train the bundled tiny model on the bundled sample with two ranks, then question it
#   make lab        the lab's four notebooks: runs, tables, CSV files and one page, runs/lab/lab.html (docs/lab.md)
#   make test       build and run all tests           (SAN=address,undefined or SAN=thread: under sanitizers)
#   make test-full  the same with hundreds of kills and disk faults where `make test` makes a few
#   make smoke      a short run in one process, without mpirun
#   make bench      time the kernels
#   make fuzz       feed damaged files to every reader for a minute each (installs clang)
#   make clean      remove what was built

SAN      ?=
JOBS     ?= $(shell nproc)
BUILD    ?= build$(if $(SAN),-$(subst $(comma),-,$(SAN)))
comma    := ,

# Open MPI refuses to start as root and with more ranks than cores unless told; versions 4 and 5 listen to different names.
export OMPI_ALLOW_RUN_AS_ROOT = 1
export OMPI_ALLOW_RUN_AS_ROOT_CONFIRM = 1
export OMPI_MCA_rmaps_base_oversubscribe = 1
# Threads that wait for one another sleep: spinning costs far more than it saves once ranks share cores.
export OMP_WAIT_POLICY ?= passive
export PRTE_MCA_rmaps_default_mapping_policy = :oversubscribe

.PHONY: all build deps demo lab test test-full smoke bench fuzz clean

all: build

deps:
	@scripts/install_deps.sh

build: deps
	@cmake -S . -B $(BUILD) -G Ninja -DLLAMA_ZERO_SANITIZE=$(SAN) > $(BUILD).configure.log 2>&1 \
	  || { cat $(BUILD).configure.log; exit 1; }
	@rm -f $(BUILD).configure.log
	@cmake --build $(BUILD) -j $(JOBS) --target llama_zero kernel_bench
	@$(if $(SAN),true,ln -sf $(BUILD)/bin/llama_zero $(BUILD)/bin/kernel_bench .)

demo: build
	@scripts/demo.sh

# LLAMA_ZERO=FILE: with that program, and nothing is built.
lab: $(if $(LLAMA_ZERO),,build)
	@scripts/lab

# The thread sanitizer runs where threads of ours meet; OpenMP's runtime is not built for it, so the kernels are left out.
THREADED := unit_core unit_zero unit_data
THREADED_ONLY := $(filter thread,$(SAN))

test: build
	@cmake --build $(BUILD) -j $(JOBS) $(if $(THREADED_ONLY),--target $(THREADED:%=%_tests))
	@scripts/run_tests.sh $(BUILD) $(if $(THREADED_ONLY),-R '^($(subst $() $(),|,$(THREADED)))$$')

# Ten minutes more than `test`.
test-full: export LLAMA_ZERO_TEST_FULL = 1
test-full: test

smoke: build
	@scripts/smoke.sh

bench: build
	@./kernel_bench

fuzz: deps
	@scripts/fuzz.sh

clean:
	rm -rf build build-* llama_zero kernel_bench
