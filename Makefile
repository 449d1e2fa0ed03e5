# The two commands of the README. Everything else is `python -m nas.<command> --help`.
#
#   make search    an environment, a latency table of this machine, the default search
#   make test      an environment, the whole test suite
#   make lint      format, lint and type check, as .ci/run does

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
TABLE := latency_tables/host/ncnn-fp32-1t.fit.json
JOBS ?= $(shell $(PYTHON) -c "import os; print(min(4, os.cpu_count() or 1))")

.PHONY: search test lint coverage

search: $(TABLE)
	$(BIN)/python -m nas.search --budget 200 --device host

test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

coverage: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov nas --cov-report term

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Written last by nas.profile, once the table has an error that is known.
$(TABLE): | $(READY)
	$(BIN)/python -m nas.profile --device host --time-limit 4m

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	# Only to read configurations back in tests. Without its dependencies: it asks for an OpenCV
	# that would overwrite the headless one.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt mmengine
	touch $@
