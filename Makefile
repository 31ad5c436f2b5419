# The few commands of the house. Everything runs in .venv, which the first of them makes.
PYTHON ?= python3
BIN = .venv/bin

SEEDS ?= 1 2 3 4 5 6 7 8
.PHONY: check test soak stubs bench bench-gpu sizes

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv && $(BIN)/pip install -q -e ".[dev]" && touch $@

check: ## format, lint, types, stubs, tests, demo: what CI runs
	bash .ci/run

test: .venv/.ready ## the tests alone
	$(BIN)/python -m pytest -n auto

soak: .venv/.ready ## what draws random inputs, again with other seeds: SEEDS="9 10" make soak
	for s in $(SEEDS); do $(BIN)/python -m pytest -n auto -q --seed $$s || exit 1; done

stubs: .venv/.ready ## regenerate the exercise stubs from the solutions
	$(BIN)/python -m minigen.course.stubs --write

.venv-bench/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-bench && .venv-bench/bin/pip install -q -e ".[bench]" && touch $@

bench: .venv-bench/.ready ## minigen beside PyTorch and JAX; BENCH="--cases ae_step --rounds 9"
	.venv-bench/bin/python -m benchmarks --threads 2,1 $(BENCH)

CUDA ?= cuda12
bench-gpu: ## training steps on a CUDA device beside PyTorch's; CUDA=cuda13 for another CuPy
	@if nvidia-smi -L >/dev/null 2>&1; then \
	  $(MAKE) -s .venv-bench/.ready && .venv-bench/bin/pip install -q -e ".[$(CUDA)]" && \
	  .venv-bench/bin/python -m benchmarks.gpu $(BENCH); \
	else echo "bench-gpu: nothing was measured: nvidia-smi finds no NVIDIA device on this machine"; fi

sizes: ## lines per room
	@git ls-files '*.py' | xargs wc -l | awk '$$2 != "total" {split($$2, p, "/"); r = p[1]; \
	  if (p[3] != "") r = p[1] "/" p[2]; n[r] += $$1} END {for (r in n) printf "%6d %s\n", n[r], r}' | sort -rn
