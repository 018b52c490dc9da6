# Every target sets itself up: a fresh clone needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q
# Many tests wait for processes of their own: one worker more than the two cores of a CI machine.
WORKERS ?= 3

# The tests write many small files: below a folder in memory where the system offers one.
define pytest
@scratch=$$(mktemp -d -p /dev/shm genid.XXXX 2>/dev/null || mktemp -d); \
  trap 'rm -rf "$$scratch"' EXIT; \
  TMPDIR="$$scratch" $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(1)
endef

.DEFAULT_GOAL := help
.PHONY: help demo test test-long test-lowest test-engines lint types docs bench bench-short bench-long fixtures constraints clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "genid needs Python 3.11 or newer; found $$($(PYTHON) -V). Give another one: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing genid with its Dagster adapter into $(VENV) …"
	@$(PIP) install -c constraints.txt -e '.[dagster,examples]'
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing genid with its test tools into $(VENV) …"
	@$(PIP) install -c constraints.txt -e '.[test,bench,docs,examples]'
	@touch $@

demo: $(VENV)/.demo ## build the example cohort flag off, then on, then once more, and run it twice
	@$(BIN)/python examples/daydreaming/demo.py

test: $(VENV)/.test lint ## linters, types, contracts, tests, docs; judges no time
	@if command -v npm >/dev/null; then npm install --prefix build/node --no-package-lock --no-audit --no-fund --silent @noble/hashes || true; fi
	$(call pytest)
	$(BIN)/python tests/every_python.py --quick
	$(MAKE) --no-print-directory docs

test-long: $(VENV)/.test ## the long forms: more examples, every kill point, every Python, mutation
	$(call pytest,--long)
	$(BIN)/python tests/every_python.py
	$(MAKE) --no-print-directory test-lowest
	@$(PIP) install -c constraints.txt -e '.[mutation]'
	$(BIN)/python tests/mutation.py

test-lowest: $(BIN)/python ## the tests with every dependency at its lower bound
	$(BIN)/python tests/lowest.py

test-engines: $(VENV)/.test ## the recipes of docs/scale.md on Ray Data and Spark, each in a venv of its own
	$(BIN)/python tests/engines.py

lint: $(VENV)/.test ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.test ## the documentation site, links checked
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "docs: built into site/"

bench: $(VENV)/.test ## every ratio with its goal and bound; non-zero past a bound
	$(BIN)/python -m benchmarks --json bench-results/latest.json

bench-short: $(VENV)/.test ## the short form, which CI runs on every change after `make test`
	$(BIN)/python -m benchmarks --short --json bench-results/short.json

bench-long: $(VENV)/.test ## ten million rows to Parquet, batch by batch
	$(BIN)/python -m benchmarks --long --json bench-results/long.json

fixtures: $(VENV)/.test ## make the regression fixtures anew by materializing cohorts
	$(BIN)/python tests/fixtures/regenerate.py

constraints: ## pin what a fresh install of everything resolves to
	rm -rf build/pins && $(PYTHON) -m venv build/pins
	build/pins/bin/python -m pip install -q --disable-pip-version-check -e '.[test,bench,docs,examples,mutation]'
	build/pins/bin/python -m pip freeze --exclude-editable | grep -v ' @ ' > constraints.txt

clean: ## everything that the other targets made
	rm -rf $(VENV) build dist site bench-results .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis mutants
