# Two commands for a newcomer: `make demo` shows what threecad does, `make test` runs what CI runs.

PYTHON ?= python3
WORKERS ?= 2
PYTEST_ARGS ?=

BIN := .venv/bin
export PYTHON

.PHONY: demo test test-heavy lint audit schemas format bench torture clean help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# An environment is set up once, and again when pyproject.toml is newer than its stamp.
.venv/.base: pyproject.toml .ci/venv
	@echo "Setting up .venv (once)"
	@.ci/venv .venv -e .
	@touch $@

.venv/.dev: pyproject.toml .ci/venv
	@echo "Setting up .venv with torch and the tools of development (once, some gigabytes)"
	@.ci/venv .venv -e ".[dev]"
	@touch .venv/.base $@

.venv-heavy/.dev: pyproject.toml .ci/venv
	@echo "Setting up .venv-heavy with anomalib and torch (once, some gigabytes)"
	@.ci/venv .venv-heavy -e ".[dev]" anomalib torch torchvision
	@touch $@

# The examples hold faults on purpose: exit code 3, "done, with a relabel queue", is what should come.
demo: .venv/.base  ## convert the example photographs into ./demo, print its statistics, write its report
	@echo '$$ threecad check examples/raw'
	@$(BIN)/threecad check examples/raw || [ $$? -eq 3 ]
	@echo
	@echo '$$ threecad convert examples/raw demo --pipeline smoke'
	@$(BIN)/threecad convert examples/raw demo --pipeline smoke || [ $$? -eq 3 ]
	@echo
	@echo '$$ threecad stats demo'
	@$(BIN)/threecad stats demo || [ $$? -eq 3 ]
	@echo
	@echo 'The data set lies in demo/ (examples/raw.md says what each photograph is for), its report in demo/report.html.'
	@echo 'Yours next: $(BIN)/threecad convert YOUR_PHOTOGRAPHS/ OUT/'

lint: .venv/.dev  ## format, lint, types, floors, dangerous calls and schemas
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml threecad
	$(BIN)/python -m threecad.schemas --check

audit: .venv/.dev  ## known holes in the installed packages, asked of a service on the network
	$(BIN)/pip-audit --local --skip-editable

test: lint  ## everything CI runs
	$(BIN)/python -m pytest -n $(WORKERS) -m "not heavy" $(PYTEST_ARGS)

test-heavy: .venv-heavy/.dev  ## the output in anomalib's data modules
	.venv-heavy/bin/python -m pytest -m heavy $(PYTEST_ARGS)

schemas: .venv/.dev  ## write schemas/ anew from the models
	$(BIN)/python -m threecad.schemas

format: .venv/.dev  ## put the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/.dev  ## one table of ratios and bars: threecad beside SAHI, the usual scripts, the codec floor and others
	$(BIN)/python tests/bench/bench.py --json bench.json

torture: .venv/.dev  ## a quarter of an hour of kills, full disks, lost rights and other faults
	$(BIN)/python tests/torture/campaign.py --minutes 15 --json torture.json

clean:  ## remove what make made
	rm -rf .venv .venv-heavy demo threecad-check build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
