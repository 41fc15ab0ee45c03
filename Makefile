# make demo    a training on two leased stand-in servers, start to end, in about 3 minutes
# make test    lint, types, import contracts and tests, JOBS=3 at a time
# make simulate  the control plane through a thousand simulated hours; SEEDS=FIRST:LAST, or SEED=17 alone
# make chaos   real processes, killed and stopped by a schedule: SEED=3 SECONDS=60, or hours of it
# make fuzz    what comes from outside, made up: TIMES=100 tries so many times as much as make test
# make bench   every benchmark, or one: make bench NAME=standin ARGS=--help
# make benchmarks  those of docs/benchmarks.md, and its tables and pictures: on a quiet machine, half an hour;
#              MISSING=1: only what was not measured yet, as after Ctrl-C
# The first Python of 3.10 to 3.12 is taken (CARLA's wheels); choose with PYTHON=...

SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach p,python3 python3.12 python3.11 python3.10,$(shell $(p) -c \
	'import sys; (3, 10) <= sys.version_info[:2] <= (3, 12) and print("$(p)")' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
BENCHES := $(patsubst tests/bench/%.py,%,$(filter-out %/__init__.py %/harness.py %/record.py,$(wildcard tests/bench/*.py)))

.PHONY: demo test test-system test-system-machines test-system-rest test-nightly simulate chaos fuzz lint bench benchmarks docs install clean

demo: install
	$(BIN)/python -m carlad.demo $(ARGS)

# Tests get a temporary folder of their own, so that nothing of them is left anywhere.
PYTEST = folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(BIN)/python -m pytest --basetemp=$$folder/t
# More than there are cores on a small machine: tests wait more than they work.
AT_A_TIME = -n $(or $(JOBS),3) --dist loadfile

test: lint
	@$(PYTEST) $(AT_A_TIME) -m "not system and not nightly"

# What starts machines and containers takes as long as all the rest, which runs beside it, one after the other.
MACHINES = tests/docker tests/systemd tests/fleet/test_memory_limit.py tests/fleet/backends/test_docker.py \
	tests/system/test_suspend.py

test-system: install
	@$(MAKE) --no-print-directory -j2 test-system-machines test-system-rest

test-system-machines: install
	@$(PYTEST) -m system $(MACHINES)

test-system-rest: install
	@$(PYTEST) -n 2 --dist loadfile -m system $(addprefix --ignore=,$(MACHINES) tests/simulation tests/system)
	@$(PYTEST) -n 2 -m system tests/simulation
	@$(PYTEST) -m system $(addprefix --ignore=,$(MACHINES)) tests/system

test-nightly: install
	@$(PYTEST) -m nightly

simulate: install
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),0:1000))

chaos: install
	$(BIN)/python -m tests.system --seed $(or $(SEED),0) --seconds $(or $(SECONDS),60)

fuzz: install
	@export CARLAD_FUZZ_TIMES=$(or $(TIMES),100); $(PYTEST) tests/fuzz

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then $(BIN)/mypy; \
	else echo "mypy is left out: it is asked on Python 3.11, as numpy's own types differ by its versions"; fi
	$(BIN)/lint-imports

bench: install
	@for name in $(or $(NAME),$(BENCHES)); do $(BIN)/python -m tests.bench.$$name $(ARGS) || exit 1; done

benchmarks: install
	$(BIN)/python -m tests.bench.record $(if $(MISSING),--missing) $(NAME)

docs: install
	$(BIN)/python docs/generate.py

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt .ci/install.py
	@test -n "$(PYTHON)" || { echo "make: no Python 3.10, 3.11 or 3.12 found (CARLA's wheels need one): make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python .ci/install.py
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis
