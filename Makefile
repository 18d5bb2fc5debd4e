# make demo        train a small transformer under the auditor and show what was counted
# make test        lint, types, layers and every test that needs no GPU
# make bench       step time bare, audited and under other counters, side by side; attaching, memory, intervals; about
#                  10 minutes; BENCH_ARGS="--out DIR" also writes Markdown and JSON
# make bench-peers the same, with the counters of benchmarks/requirements.txt in a folder of their own
# make bench-ledger  writing, verifying and recounting a ledger, and its size; LEDGER_ARGS="--intervals N --out FILE"
# make bench-scale   adding up, reporting, verifying and compressing jobs of up to 16,384 ranks; about an hour, 4 GB;
#                  SCALE_ARGS="--quick --only merge --out FILE"
# make soak        the ledger's promises, held to with 10,000 kills, losses of power, an hour of fuzzing and ten million
#                  records; two to three hours. SOAK_ARGS="--fuzz-s 60 --kills 200 --only kills power --keep"
# make bench-index   importing 10,000 runs into an index and asking it; INDEX_ARGS="--runs N --to URL --out FILE"
# make frontier    runs of a 405B model on 16,384 ranks and of a mixture of experts on 2,048, traced whole and held to
#                  their closed forms; a quarter of an hour. FRONTIER_ARGS="--out FILE"
# make test-engines  exported totals on DuckDB, Spark and Ray (another environment, 1.5 GB; Spark needs Java)
# make lint        ruff, mypy, import-linter
# make test-gpu    the tests that need an NVIDIA GPU
# make bench-gpu   the benchmark on the GPU: steps eager, compiled and captured, the probe against the datasheet, counted
#                  operations against the GPU's counters (ncu); kept in benchmarks/results/
# make survey      models of many libraries, counted beside other counters; SURVEY_ARGS="--out DIR" also writes files
# make frameworks  the loops of other frameworks, each in two ranks under audit, held against closed forms; about 15 minutes.
#                  FRAMEWORKS_ARGS="--only lightning ray --out FILE --document docs/frameworks.md"
# make clean       what was built and installed goes; audits/ stays
#
# The environment is made in $(VENV) at first use, and again when pyproject.toml or the pinned versions change.
# Where Python already has a torch that fits, use that and install nothing:
#   make test-gpu VENV= PYTHON=python3

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS := .ci/constraints.txt
TEST_WORKERS ?= 2
TEST_ARGS ?=
BENCH_ARGS ?=
BENCH_GPU_ARGS := --subjects many-small-layers transformer transformer-compiled transformer-captured \
	--sittings 1 --starts 1 --memory-steps 0 --intervals 30
LEDGER_ARGS ?=
INDEX_ARGS ?=
SCALE_ARGS ?=
SURVEY_ARGS ?=
FRONTIER_ARGS ?=
ENGINES := build/engines
SOAK_ARGS ?=
FRAMEWORKS_ARGS ?=
FRAMEWORKS := accelerate transformers lightning ray deepspeed megatron
FRAMEWORK_FOLDERS := build/frameworks
PEERS := build/bench-peers
DEMO_ARGS ?=
DEMO_DIR ?= audits/demo-$(shell date -u +%Y%m%d-%H%M%S)

ifeq ($(strip $(VENV)),)
PY := $(PYTHON)
INSTALLED := python-version
SURVEYED := $(INSTALLED)
FUZZER := $(INSTALLED)
export PYTHONPATH := $(CURDIR)$(if $(PYTHONPATH),:$(PYTHONPATH))
else
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
SURVEYED := $(VENV)/.surveyed
FUZZER := $(VENV)/.fuzzer
endif
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PY) -m pip
AUDITOR := $(PY) -m auditor

.DELETE_ON_ERROR:
.PHONY: demo test bench bench-peers bench-ledger bench-index bench-scale soak frontier test-engines frameworks lint test-gpu \
	bench-gpu survey clean install python-version

demo: DIR := $(DEMO_DIR)
demo: $(INSTALLED)
	$(AUDITOR) run --out $(DIR) --model demo -- $(PY) benchmarks/workloads/train_gpt.py $(DEMO_ARGS)
	@echo
	@$(AUDITOR) report $(DIR)
	@$(AUDITOR) report $(DIR) --format html --out $(DIR).html
	@echo
	@$(AUDITOR) verify $(DIR)
	@printf '\nReport to read: %s\nLedger:         %s\n' "$(DIR).html" "$(DIR)"

test: lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -m "not gpu" -n $(TEST_WORKERS) --max-worker-restart 0 --dist loadfile $(TEST_ARGS)

bench: $(INSTALLED)
	$(PY) benchmarks/overhead.py $(BENCH_ARGS)

bench-peers: $(PEERS)/.installed
	PYTHONPATH="$(CURDIR)/$(PEERS)$${PYTHONPATH:+:$$PYTHONPATH}" $(PY) benchmarks/overhead.py $(BENCH_ARGS)

bench-ledger: $(INSTALLED)
	$(PY) benchmarks/ledger.py $(LEDGER_ARGS)

soak: $(FUZZER)
	OMP_NUM_THREADS=1 $(PY) -m tests.ledger.soak $(SOAK_ARGS)

bench-index: $(INSTALLED)
	$(PY) benchmarks/index.py $(INDEX_ARGS)

bench-scale: $(INSTALLED)
	$(PY) benchmarks/scale.py $(SCALE_ARGS)

frontier: $(INSTALLED)
	mkdir -p build
	OMP_NUM_THREADS=1 $(PY) benchmarks/frontier.py --json build/frontier.json $(FRONTIER_ARGS)
	FRONTIER_TRACED=build/frontier.json $(PY) -m pytest tests/workloads/test_frontier.py

test-engines: $(ENGINES)/.installed
	$(ENGINES)/bin/python -m pytest tests/export $(TEST_ARGS)

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	MYPYPATH=benchmarks $(PY) -m mypy --explicit-package-bases --exclude workloads/frameworks/ benchmarks/*.py benchmarks/workloads
	$(PY) -m mypy --explicit-package-bases benchmarks/accuracy
	$(PY) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

test-gpu: $(INSTALLED)
	$(PY) -m pytest -m gpu $(TEST_ARGS)

bench-gpu: $(INSTALLED)
	$(PY) benchmarks/overhead.py --device cuda --keep $(BENCH_GPU_ARGS) $(BENCH_ARGS)
	$(PY) benchmarks/hardware.py --keep

survey: $(SURVEYED)
	$(PY) -m benchmarks.accuracy $(SURVEY_ARGS)

frameworks: $(FRAMEWORKS:%=$(FRAMEWORK_FOLDERS)/%/.installed)
	nice -n 5 $(PY) benchmarks/frameworks.py --packages $(FRAMEWORK_FOLDERS) $(FRAMEWORKS_ARGS)

install: $(INSTALLED)

clean:
	rm -rf .venv build dist bench-report *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

python-version:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "The auditor needs Python 3.11 or newer; %s is %s. Name another: make PYTHON=python3.12 ..." % (sys.executable, sys.version.split()[0]))'

# Without what they depend on, which is listed as well: nothing here may bring a torch of its own.
$(PEERS)/.installed: benchmarks/requirements.txt | $(INSTALLED)
	rm -rf $(PEERS)
	DS_BUILD_OPS=0 $(PIP) install --no-deps --no-build-isolation --target $(PEERS) -r benchmarks/requirements.txt
	@touch $@

$(FRAMEWORK_FOLDERS)/%/.installed: .ci/frameworks/%.txt | $(INSTALLED)
	rm -rf $(@D)
	DS_BUILD_OPS=0 $(PIP) install --quiet --no-deps --no-build-isolation --target $(@D) -r $<
	@touch $@

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | python-version
	@echo "Installing into $(VENV): once, some minutes, mostly for torch"
	@$(PY) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) install torch==2.13.0
	$(PIP) install --quiet --constraint $(CONSTRAINTS) hatchling editables
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable '.[train,cuda,html,terminal,qr,postgres,zstd,parquet,duckdb,dev]'
	@touch $@

$(ENGINES)/.installed: benchmarks/engines.txt pyproject.toml $(CONSTRAINTS) | python-version
	@$(ENGINES)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(ENGINES)
	$(ENGINES)/bin/python -m pip install --quiet hatchling editables --constraint $(CONSTRAINTS)
	$(ENGINES)/bin/python -m pip install --quiet --editable '.[parquet,duckdb]' --requirement $<
	@touch $@

$(VENV)/.surveyed: benchmarks/accuracy/requirements.txt $(CONSTRAINTS) $(INSTALLED)
	$(PIP) install --quiet --no-deps --constraint $(CONSTRAINTS) --requirement $<
	@touch $@

$(VENV)/.fuzzer: $(CONSTRAINTS) $(INSTALLED)
	$(PIP) install --quiet --constraint $(CONSTRAINTS) --editable '.[fuzz]'
	@touch $@
