# The tasks of a checkout; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.requirements.lock
MILLSTREAM := $(BIN)/millstream
JSON ?=
NAME ?=
TESTS ?= tests
PROCESSES ?= 2

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: $(MILLSTREAM) ## Start everything on this machine and stay in the foreground; Ctrl-C stops it.
	@exec $(MILLSTREAM) up

.PHONY: env
env: $(MILLSTREAM) ## Make or refresh the environment in .venv from requirements.lock.

.PHONY: lint
lint: $(MILLSTREAM) ## Check style, types and layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

.PHONY: test
test: lint tools ## Run every check and every test on the embedded parts; TESTS=path runs some, PROCESSES=0 one after the other.
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadgroup $(TESTS)

.PHONY: tools
tools: ## Install what the tests use beside Python, where this machine allows it.
	@sh tests/tools.sh

.PHONY: nightly
nightly: $(MILLSTREAM) ## What takes too long for `make test`: a thousand requests to each operation of the OpenAPI documents, ClickHouse away for a minute, a real Collector.
	FUZZ_EXAMPLES=1000 $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist load --timeout 3600 tests/flow/test_openapi_crucible.py tests/flow/test_openapi_experimentation.py tests/flow/test_openapi_llm.py
	MILLSTREAM_LONG_TESTS=1 $(BIN)/python -m pytest --timeout 3600 tests/faults/test_store_kills.py tests/clients/test_collector.py

.PHONY: bench
bench: $(MILLSTREAM) ## Measure the speed; JSON=file also writes the figures, NAME="a b" measures some.
	$(MILLSTREAM) bench $(NAME) $(if $(JSON),--json $(JSON))

.PHONY: docs
docs: $(MILLSTREAM) ## Write the generated pages of infra/docs.
	$(BIN)/python -m infra.docs.generate

.PHONY: lock
lock: $(MILLSTREAM) ## Resolve pyproject.toml anew into requirements.lock; needs uv.
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet --output-file requirements.lock

.PHONY: clean
clean: ## Remove the environment and caches; the data folder stays.
	rm -rf $(VENV) .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(MILLSTREAM): $(STAMP) pyproject.toml
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "millstream.pth").write_text(str(pathlib.Path.cwd()) + "\n")'
	@printf '#!/bin/sh\nexec "%s" -P -m infra.cli.main "$$@"\n' "$(CURDIR)/$(BIN)/python" > $@
	@chmod +x $@

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Millstream needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Choose one with: make PYTHON=python3.12 " + "$(MAKECMDGOALS)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of requirements.lock into $(VENV); this happens once and takes a minute or two."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@cp requirements.lock $@
