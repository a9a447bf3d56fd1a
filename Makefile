# `make` alone lists the targets.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help install dev demo demo-real test lint slow bench tutorial clean
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
PYTEST_ARGS ?=
DEMO := runs/demo
BIN := .venv/bin
PIP_INSTALL := set -o pipefail; $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
# One line per package, so that a long download looks alive.
PROGRESS := grep --line-buffered -oE '^Collecting [^ ]+|Downloading .+ \([0-9.]+ [MG]B\)|^Installing collected packages|^Successfully [a-z]+'

# No look-up of newer versions over the network.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/.installed  ## install seqdet into .venv

dev: .venv/.installed-dev  ## install seqdet and the tools for its development into .venv

demo: .venv/.installed  ## train on moving digits, evaluate, write a video and a report to runs/demo
	@if [ -e $(DEMO)/config.yaml ]; then \
	    echo "$(DEMO) is there already: going on with it. Remove the folder to start afresh."; \
	    $(BIN)/seqdet train --resume $(DEMO); \
	else \
	    $(BIN)/seqdet train --recipe demo --out $(DEMO); \
	fi && $(BIN)/seqdet evaluate $(DEMO) || { \
	    status=$$?; [ $$status = 130 ] || exit $$status; \
	    echo "'make demo' goes on from there."; kill -INT $$PPID; \
	}  # the signal ends make as Ctrl-C does, without a word about an error

demo-real: .venv/.installed  ## train on flies, as a video and as events, and film both side by side to runs/flies
	@$(BIN)/python scripts/demo_real.py runs/flies || { \
	    status=$$?; [ $$status = 130 ] || exit $$status; \
	    echo "'make demo-real' goes on from there."; kill -INT $$PPID; \
	}

test: lint  ## lint and run the fast tests, a file to a process, a thread to each
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: .venv/.installed-dev  ## check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo

slow: .venv/.installed-dev  ## run the slow tests
	$(BIN)/pytest -m slow $(PYTEST_ARGS)

bench: .venv/.installed-dev $(DEMO)/detector.safetensors  ## run every benchmark, some on the demo's run, and print its table
	@failed=; for script in benchmarks/*.py; do \
	    echo; echo "== $$script"; $(BIN)/python "$$script" || failed="$$failed $$script"; \
	done; \
	[ -z "$$failed" ] || { echo; echo "These did not run to the end:$$failed" >&2; exit 1; }

tutorial: .venv/.installed-dev  ## run the tutorial and write its page
	$(BIN)/python scripts/render_tutorial.py

clean:  ## remove .venv, caches and builds; runs stay
	rm -rf .venv build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks scripts -name __pycache__ -prune -exec rm -rf {} +

.venv/.installed: pyproject.toml | $(BIN)/python
	@echo "Installing seqdet into .venv; PyTorch is a download of up to several GB, this takes minutes."
	@$(PIP_INSTALL) -e . | $(PROGRESS)
	@touch $@

.venv/.installed-dev: pyproject.toml | $(BIN)/python
	@echo "Installing seqdet and its development tools into .venv; PyTorch is a download of up to several GB."
	@$(PIP_INSTALL) -e '.[dev]' | $(PROGRESS)
	@touch .venv/.installed $@

$(DEMO)/detector.safetensors:
	@$(MAKE) demo

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "seqdet needs Python 3.11 or newer, and '$(PYTHON)' is not. Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	    exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }
