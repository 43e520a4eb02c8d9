# Every target does the set-up that it needs, and none when there is nothing to set up.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-fast test-all check audit bench bench-long docs

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## install into .venv

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' \
	  || { echo "Python 3.11.4 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "installing into $(VENV), once: a few minutes"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# torch first: the pinned build is then kept whatever the other packages ask for.
	@$(BIN)/pip install --quiet --constraint constraints.txt torch
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

quickstart: $(STAMP)  ## search on real pictures, about 5 minutes on two cores
	@# A run that exists goes on, or shows again what it found.
	@if test -d runs/quickstart; then $(BIN)/dipsearch resume quickstart; \
	  else $(BIN)/dipsearch launch experiments/quickstart.yaml; fi

# Three processes on two cores, as tests of drivers and workers wait for much of their time. They share
# out the tests by file; the tests that use one Ray stay together, see tests/conftest.py. One thread in
# each process: more of them would wait for one another. Workers of Ray, which are "nice" by default,
# would starve beside them. Python keeps what it compiles, as the tests start many programs. The 20
# slowest are printed, and what was skipped, with the reason.
PYTEST = OMP_NUM_THREADS=1 RAY_worker_niceness=0 PYTHONDONTWRITEBYTECODE= \
  $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --durations=20 -rs

test: $(STAMP)  ## run the tests on two cores
	$(PYTEST) -m 'not slow'

test-fast: $(STAMP)  ## run the brief tests that need no Ray, no browser and no server
	$(PYTEST) -m 'not slow and not long and not ray and not browser and not server'

test-all: $(STAMP)  ## run the slow tests too
	$(PYTEST)

check: $(STAMP) audit  ## lint, format, types, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: $(STAMP)  ## ask the index for known vulnerabilities of what is installed
	$(BIN)/python .ci/audit

# All of them fit in 20 minutes; PEER=CHECKOUT measures against the official repository's network.
bench: export PYTHONPATH = .
bench: $(STAMP)  ## measure this machine and refresh docs/performance.md, 20 minutes
	$(BIN)/python benchmarks/trainer.py --profile $(if $(PEER),--peer $(PEER))
	$(BIN)/python benchmarks/roofline.py
	$(BIN)/python benchmarks/scales.py
	$(BIN)/python benchmarks/packing.py
	for part in driver analysis suggest scaling; do \
	  $(BIN)/python benchmarks/orchestration.py $$part || exit 1; done
	$(BIN)/python benchmarks/tables.py

bench-long: export PYTHONPATH = .
bench-long: $(STAMP)  ## equal results of bf16, racing and whole searches, 2 hours
	$(BIN)/python benchmarks/precision.py --workers 2
	$(BIN)/python benchmarks/racing.py replay --workers 2 --output benchmarks/racing.json
	$(BIN)/python benchmarks/whole_search.py $(if $(PEER),--peer $(PEER))
	$(BIN)/python benchmarks/tables.py

docs: $(STAMP)  ## build the documentation into out/docs
	$(BIN)/sphinx-build -E -W --keep-going -q -b html docs out/docs
	@echo "out/docs/index.html"
