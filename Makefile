# Two commands do everything on a machine with Python 3.10+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint clean help

help:  ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: $(STAMP)  ## Train, score, package and report on the bundled sample
	. $(BIN)/activate && python -m weasel run all

test: $(STAMP)  ## Run the tests
	$(BIN)/python -m pytest -n 2

lint: $(STAMP)  ## Style, types
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo 'Installing pinned packages into $(VENV), a few minutes the first time'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[offline,shared,onnx,ray,vectors,serve,dev]"
	touch $(STAMP)

clean:  ## Remove all corpora, pipelines, runs, wheels and reports in here, your own too
	rm -rf corpus training metrics packages report project.lock
	rm -rf papers/*/corpus papers/*/training papers/*/silver papers/*/metrics papers/*/project.lock
	rm -rf recipes/*/corpus recipes/*/training recipes/*/project.lock
