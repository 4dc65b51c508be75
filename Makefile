# The front door: `make demo` and `make test` need Python 3.11 or newer, make and git, and set up the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PROTOS := $(wildcard protos/turntree/v1/*.proto)
CLIENTS := $(notdir $(patsubst %/Makefile,%,$(wildcard clients/*/Makefile)))
PACKAGED := java rust typescript
MEASURED := $(patsubst clients/%/conformance/bench,%,$(wildcard clients/*/conformance/bench))
# Builds that go on at the same time print one after another, where make can do that.
IN_ORDER := $(if $(filter output-sync,$(.FEATURES)),--output-sync=recurse)
SOURCES := clients server tests benchmarks protos

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): pyproject.toml clients/python/pyproject.toml server/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "turntree needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --constraint constraints.txt --group dev \
		--editable 'clients/python[openai-agents]' --editable server
	@touch $@

.PHONY: setup
setup: $(READY) ## Make the environment in .venv

.PHONY: demo
demo: $(READY) ## Show the main job: a conversation kept on a server, branched, streamed and accounted for
	@$(BIN)/python clients/python/example/demo.py $(if $(MODEL),--model $(MODEL))

.PHONY: test
test: $(READY) ## Run every check and test
	@$(MAKE) --no-print-directory --jobs 2 $(IN_ORDER) lint fresh clients
	$(BIN)/python -m pytest --numprocesses auto --dist load --maxschedchunk 1

.PHONY: clients
clients: $(CLIENTS:%=client-%) ## Build and test the clients in other languages

# The clients' own makefiles know nothing of several jobs at once: their targets share folders.
client-%: $(READY)
	@MAKEFLAGS= clients/with-toolchain $* $(MAKE) --no-print-directory -C clients/$* test TURNTREE=$(CURDIR)/$(BIN)/turntree

.PHONY: lint
lint: $(READY) ## Check formatting, style, types and protos
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python protos/generate.py lint

.PHONY: format
format: $(READY) ## Format the code
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

.PHONY: proto
proto: $(READY) ## Generate the Python code of the protos
	$(BIN)/python protos/generate.py generate

.PHONY: fresh
fresh: $(READY) ## Prove that the generated code is that of the protos
	$(BIN)/python protos/generate.py fresh

.PHONY: fuzz
fuzz: $(READY) ## Compare with the Agents SDK on random sequences: SEQUENCES=5000 by default
	TURNTREE_SEQUENCES=$(or $(SEQUENCES),5000) $(BIN)/python -m pytest tests/parity/test_differential.py -s

.PHONY: fuzz-inputs
fuzz-inputs: .venv/fuzz ## Search for inputs that break the server, guided by coverage; TURNTREE_FUZZ_SECONDS=600 each
	$(BIN)/python -m tests.faults.guided --keep

.PHONY: torture
torture: .venv/fuzz ## Break the server in every way, for four hours or so; TURNTREE_SEED=N plays a run again
	TURNTREE_FAULTS=torture $(BIN)/python -m pytest tests/faults -s
	TURNTREE_FAULTS=torture $(BIN)/python -m tests.faults.guided --keep
	TURNTREE_FAULTS=torture $(BIN)/python -m tests.faults.soak

.PHONY: bench
bench: .venv/bench $(MEASURED:%=bench-%) ## Compare the speed with that of the peers, in about five minutes, once the clients are built
	$(BIN)/python -m benchmarks

.PHONY: bench-full
bench-full: .venv/bench $(MEASURED:%=bench-%) ## Compare the speed at full size: 1,000,000 items, many rounds
	$(BIN)/python -m benchmarks --full

bench-%: $(READY)
	@MAKEFLAGS= clients/with-toolchain $* $(MAKE) --no-print-directory -C clients/$* bench TURNTREE=$(CURDIR)/$(BIN)/turntree

.venv/fuzz: $(READY)
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --constraint constraints.txt --group fuzz
	@touch $@

.venv/bench: $(READY)
	VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --constraint constraints.txt --group bench
	@touch $@

.PHONY: packages
packages: $(READY) $(PACKAGED:%=package-%) ## Build what is published, from nothing, and use it as others get it
	rm -rf dist
	for project in clients/python server; do $(BIN)/uv build --quiet --out-dir dist/packages $$project || exit; done
	$(BIN)/uv venv --quiet --python $(BIN)/python dist/venv
	VIRTUAL_ENV=dist/venv $(BIN)/uv pip install --quiet --constraint constraints.txt dist/packages/*.whl
	@for package in turntree turntree_server; do \
		cmp LICENSE dist/venv/lib/python*/site-packages/$$package-*.dist-info/licenses/LICENSE || exit; done
	dist/venv/bin/turntree --version

package-%:
	@MAKEFLAGS= clients/with-toolchain $* $(MAKE) --no-print-directory -C clients/$* package

.PHONY: constraints
constraints: ## Pin the newest versions of everything that is installed
	VIRTUAL_ENV=.venv $(BIN)/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --upgrade --group dev --group fuzz --group bench \
		'clients/python/pyproject.toml' 'server/pyproject.toml' --all-extras --output-file constraints.txt
