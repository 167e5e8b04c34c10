# Everything runs in a virtual environment of this checkout; `make` alone lists what there is.
.DEFAULT_GOAL := help
.PHONY: help run demo picture test tests slow chaos benchmarks check lock histories clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Containers often set it. Then each of our many processes would compile our code, and each of pytest's our tests.
export PYTHONDONTWRITEBYTECODE :=

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 20

run: $(READY)  ## bring the whole system up; Ctrl-C stops it
	@exec $(BIN)/masking run

demo: $(READY)  ## show a masked call, from create to the final bill
	@exec $(BIN)/masking demo

picture: $(READY)  ## play the demo once more, and draw it for the README
	@exec $(BIN)/masking demo --svg docs/masked-call.svg

test: $(READY)  ## check the code and, at the same time, run all tests but the slow ones, five files at a time; five minutes at most
	@$(MAKE) --no-print-directory -j 2 check tests

# What takes long: whole systems, used, killed, failing over; thousands of calls; long histories; what a session costs.
SLOW := tests/systems tests/benchmarks tests/workflow/test_long_sessions.py $(addprefix tests/integration/test_,\
  chaos.py every_carrier.py failover.py plivo_faults.py set_back.py terms_at_plivo.py)
SIDE_BY_SIDE := --dist loadfile --no-loadscope-reorder

tests: $(READY)
	@# Compiles the tests once; else each of the five would do so.
	@$(BIN)/python -m pytest --collect-only -q >/dev/null
	$(BIN)/python -m pytest $(SLOW:%=--ignore %) -n 5 $(SIDE_BY_SIDE)

slow: $(READY)  ## run the tests that take long: whole systems that are used, killed, fail over; calls by the hundred; four minutes
	@# Many of them are a handful of processes each.
	$(BIN)/python -m pytest $(SLOW) -n 3 $(SIDE_BY_SIDE)

chaos: $(READY)  ## kill parts of the system under 200 sessions, and under 100 that Plivo masks; a thousand calls over a bad network; 500 under a bad Plivo; 200 sessions resumed at any moment; 1,000 stories; 6,000 odd requests; forty minutes
	$(BIN)/python -m tests.processes.killed
	$(BIN)/python -m tests.processes.killed --carrier plivo --sessions 100 --kills 30
	$(BIN)/python -m tests.processes.plivo_faults
	STORIES=1000 EXAMPLES=1000 CHANGED_BYTES=2000 $(BIN)/python -m pytest \
	  tests/domain tests/storage/test_stories.py tests/audit/test_verification.py --timeout 1800
	REQUESTS=1000 $(BIN)/python -m pytest tests/conformance/test_no_request_breaks_it.py --timeout 1200
	MEASURE=1 $(BIN)/python -m pytest tests/docs/test_measures.py
	RESUMED_SESSIONS=200 $(BIN)/python -m pytest tests/integration/test_resume_at_random.py
	CHAOS_CALLS=1000 LONG_CALLS=834 $(BIN)/python -m pytest \
	  tests/integration/test_chaos.py tests/workflow/test_long_sessions.py

benchmarks: $(READY)  ## measure reads, calls, numbers, callbacks, audits, a session's cost, encryption, 10,000 open ones; half an hour
	$(BIN)/python -m benchmarks.reads
	$(BIN)/python -m benchmarks.answers
	$(BIN)/python -m benchmarks.allocation
	$(BIN)/python -m benchmarks.callbacks
	$(BIN)/python -m benchmarks.audit
	$(BIN)/python -m benchmarks.cost
	$(BIN)/python -m benchmarks.encryption
	$(BIN)/python -m benchmarks.load

check: $(READY)  ## linters, types, and which module may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

histories: $(READY)  ## record golden histories of sessions that have none yet
	$(BIN)/python -m tests.histories.record

lock:  ## pin the newest allowed dependencies, with hashes (needs uv)
	uv pip compile -q pyproject.toml --extra local --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-header --upgrade -o requirements/local.txt
	uv pip compile -q pyproject.toml -c requirements/local.txt --universal --python-version 3.11 \
	  --generate-hashes --no-header --upgrade -o requirements/production.txt

clean:  ## remove the virtual environment and caches; sessions in .masking stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info

$(READY): pyproject.toml requirements/local.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "masking needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Setting up $(VENV), once; this takes a minute or two."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "  installing the pinned dependencies"
	@$(PIP) install --quiet --require-hashes -r requirements/local.txt
	@echo "  installing masking"
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@
