# hedgegrid: set up, run, check. It needs Python 3.11 to 3.14 (with venv and pip) and make, nothing else.
#
#   make run ARGS="--duration 60s"   the demo, or whatever ARGS names (see `python -m hedgegrid run --help`)
#   make run-testnet-standin         testnet mode against a stand-in of the exchange, ARGS="--minutes 5" or "--kills 20"
#   make test                        every check; pytest last, TESTS="tests/test_tidy.py -k name" narrows it
#   make lint | format               the static checks alone | mend what can be mended
#   make mutate                      change the core in small ways and see a test fail for each, ARGS="funding --jobs 2"
#   make soak                        1,000 simulated days under every fault, ARGS="--seeds 1..50 --hours 6" for less
#   make lock [UPGRADE=--upgrade]    bring the locks in line with pyproject.toml [and to the newest releases]
#   make bench-peers                 race the backtest against others (needs Python 3.11 to 3.13), ARGS="--only bars"
#   make lock-peers                  bring the lock of those others in line with tools/bench/peers/requirements.in
#   make clean                       forget the environment and everything built

PYTHON ?= python3
ARGS ?=
TESTS ?=
UPGRADE ?=
VENV := .venv
BIN := $(VENV)/bin/python
INSTALL := $(BIN) -m pip install --quiet --disable-pip-version-check
PROJECT := $(INSTALL) --no-deps --no-build-isolation --editable .
COMPILE := $(BIN) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--fork-strategy fewest --no-config --no-annotate $(UPGRADE)
LOCK := $(COMPILE) --custom-compile-command "make lock"
PEERS := build/peers

# Kept bytecode spares each process that the tests start the compiling of every module; some machines keep none unasked.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run run-testnet-standin test lint format mutate soak lock bench-peers lock-peers clean

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

run: $(VENV)/run.stamp
	@$(BIN) -m hedgegrid run $(ARGS)

# The stand-in and the bot over real sockets; both accounts are compared at the end.
run-testnet-standin: $(VENV)/dev.stamp
	@$(BIN) -m tools.rehearsal $(ARGS)

# Half of the time the tests wait, for clocks and for other programs: one more of them than there are cores of two.
test: lint
	$(BIN) -m tools.wheel_check
	$(BIN) -m pytest -n 3 $(TESTS)

lint: $(VENV)/dev.stamp
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .
	$(BIN) -m mypy
	$(VENV)/bin/lint-imports
	$(BIN) -m tools.tidy
	$(BIN) -m tools.diagrams --check

format: $(VENV)/dev.stamp
	$(BIN) -m ruff check --fix .
	$(BIN) -m ruff format .

# Minutes to an hour: it is for whoever changes the core, not a part of `make test`.
mutate: $(VENV)/dev.stamp
	@$(BIN) -m tools.mutate $(ARGS)

# Hours on a small machine; what it finds is a bug, with the line that shows it again.
soak: $(VENV)/run.stamp
	@$(BIN) -m hedgegrid simulate --config configs/replay.toml --seeds 1..1000 --hours 24 \
		--jobs $$(nproc) --shrink $(ARGS)

# The dev lock is held to the run lock's versions: what is tested is what is shipped.
lock: $(VENV)/dev.stamp
	$(LOCK) pyproject.toml --output-file requirements.lock
	$(LOCK) --group build --output-file requirements-build.lock
	$(LOCK) pyproject.toml --extra dev --output-file requirements-dev.lock \
		--constraint requirements.lock --constraint requirements-build.lock

# The peers need other versions of what we need: they live in an environment of their own.
bench-peers: $(VENV)/dev.stamp $(PEERS)/made.stamp
	@$(BIN) -m tools.bench.backtest --peers-python $(PEERS)/bin/python $(ARGS)

lock-peers: $(VENV)/dev.stamp
	$(COMPILE) --custom-compile-command "make lock-peers" tools/bench/peers/requirements.in \
		--output-file tools/bench/peers/requirements.lock

clean:
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# A stamp is younger than the lock that it stands for, so nothing is installed twice.
$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || \
		{ echo "hedgegrid needs Python 3.11 to 3.14: name one with make PYTHON=python3.13"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: $(VENV)/made.stamp requirements.lock requirements-build.lock pyproject.toml
	@echo "installing the locked packages into $(VENV) (once, a minute or two)"
	@$(INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(PROJECT)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/made.stamp requirements-dev.lock pyproject.toml
	@echo "installing the locked packages and the development tools into $(VENV) (once, a minute or two)"
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@$(PROJECT)
	@touch $@ $(VENV)/run.stamp

$(PEERS)/made.stamp: tools/bench/peers/requirements.lock
	@echo "installing the locked peers into $(PEERS) (once, a minute or two)"
	$(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
