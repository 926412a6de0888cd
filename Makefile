# The commands of the README. Each needs Python 3.11 or later and make, and nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install run test check lock bench endurance conformance bench-cluster clean

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: .venv/installed  ## Make .venv with everything, as locked

.venv/installed: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: install  ## Serve the article's manifests on 127.0.0.1:8000 and 8443, with backends of their own
	@$(BIN)/moongate demo

test: install  ## Run the tests
	$(BIN)/python -m pytest

check: install  ## Run the linters: ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

UV_COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet
EXTRAS := --extra uvloop --extra kubernetes --extra otel

lock: install  ## Choose versions anew: for development, and of those what an image runs with and what builds it
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/$(UV_COMPILE) --upgrade --group dev $(EXTRAS) pyproject.toml --output-file requirements-dev.lock
	$(BIN)/$(UV_COMPILE) --upgrade --constraint requirements-dev.lock $(EXTRAS) pyproject.toml \
	  --output-file requirements.lock
	echo hatchling | $(BIN)/$(UV_COMPILE) --upgrade --constraint requirements-dev.lock - \
	  --output-file requirements-build.lock

bench: install  ## Measure what a request costs, side by side with peers; with BENCH=--quick in 3 minutes
	-@$(BIN)/python -m benchmarks.install
	@$(BIN)/python -m benchmarks $(BENCH)
	@$(BIN)/python -m benchmarks.changes $(CHANGES)

endurance: install  ## Move GiBs in bounded memory, and serve ordinary clients among crowds of slow ones
	@$(BIN)/python -m benchmarks.endurance $(ENDURANCE)

SUITE ?= 1.7.0
GATEWAY_CLASS ?= moongate

conformance: install  ## Have the Gateway API's own suite judge a cluster; RUN=one test, OUTPUT=folder, SUITE=1.6.3, PUBLISH=1
	@$(BIN)/python -m tests.conformance.suite.run --suite $(SUITE) --gateway-class $(GATEWAY_CLASS) \
	  $(if $(RUN),--run-test $(RUN)) $(if $(OUTPUT),--output $(OUTPUT)) $(if $(PUBLISH),--publish) $(FLAGS)

bench-cluster: install  ## Measure in a cluster how soon routes are served and counted, and what they cost; CLUSTER=rows
	@$(BIN)/python -m benchmarks.cluster $(CLUSTER)

clean:  ## Remove what was made
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
