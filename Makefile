# Windtunnel. `make quickstart` and `make test` create .venv and install what they need; a second call installs nothing.
#   PYTHON=python3.12    interpreter for a new .venv
#   TORCH=torch==2.13.0  which build of PyTorch to install first (add --index-url … for another one)

PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-dev

FAST := -m "not law and not kill and not slow"

.PHONY: quickstart test test-corpus-and-model test-rest test-fast test-fast-pipelines test-fast-rest lint docs coverage versions clean help

help:
	@echo "make quickstart   raw sample corpus to shards to an annealed model, with a report (runs/quickstart)"
	@echo "make test         all tests, in two halves side by side;  make test-fast   without laws, kills and what is slow"
	@echo "make lint         ruff and mypy;  make coverage   tests with line coverage"
	@echo "make docs         the documentation as a site: build/docs/index.html"
	@echo "make versions     record the source digests of the stages after their versions were raised"

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Windtunnel needs Python 3.11 to 3.13; say which with PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(STAMP): $(VENV)/.created pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt '$(TORCH)'
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,dask,datatrove,cloud,dev]'
	touch $@

quickstart: $(STAMP)
	$(BIN)/windtunnel run recipes/quickstart.yaml --workers $(WORKERS)

test: $(STAMP)
	@$(MAKE) --no-print-directory --keep-going --jobs 2 --output-sync=target test-corpus-and-model test-rest

test-corpus-and-model: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/pipelines tests/trainer tests/tokenizer tests/examples --ignore-glob 'tests/pipelines/test_[rt]*.py'

test-rest: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --ignore tests/trainer --ignore tests/tokenizer --ignore tests/examples --ignore-glob 'tests/pipelines/test_[!rt]*.py'

test-fast: $(STAMP)
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-fast-pipelines test-fast-rest

test-fast-pipelines: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(FAST) tests/pipelines --ignore-glob 'tests/pipelines/test_re[ac]*.py'

test-fast-rest: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(FAST) tests --ignore-glob 'tests/pipelines/test_[!r]*.py' --ignore-glob 'tests/pipelines/test_r[!e]*.py' --ignore-glob 'tests/pipelines/test_re[!ac]*.py'

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -d build/doctrees docs build/docs

coverage: $(STAMP)
	$(BIN)/python -m pytest --cov --cov-report=term

versions: $(STAMP)
	$(BIN)/python -m pipelines.run.rule_versions

clean:
	rm -rf $(VENV) runs build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
