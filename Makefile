# make demo    train the embedded demo, 16 to 20 minutes on 2 cores
# make test    run the tests;  make test-slow  those that take minutes
# make lint    run ruff
# make bench   measure images/s, memory, share of the machine's matmul peak
# make bench-serving   measure latency and throughput of exports and the server
# make soak    kill programs at random, repeat trainings with the same seed, and
#              read 100,000 damaged inputs: half an hour or more;
#              make soak SOAK="--kills=100 --seed=7"
# make clean   remove .venv, build files and caches, but not runs/
#
# The first make creates .venv with the versions of .ci/constraints-classic.txt. It
# looks for Python 3.9 to 3.11; choose one with  PYTHON=python3.11 make demo
VENV ?= .venv
PYTHON ?=
RUN = $(VENV)/bin/python
FLAGFILE ?= flags/demo/all.flags
TESTS ?= tests
SOAK ?=

.PHONY: help venv demo test test-slow lint bench bench-serving soak \
  bazel clean
help:
	@sed -n 's/^# \{0,1\}//p;/^VENV/q' Makefile

# Always runs, and returns at once if nothing has changed: the script notices a
# stale or incomplete environment, which make cannot tell by file times.
venv:
	@VENV="$(VENV)" PYTHON="$(PYTHON)" .ci/make-venv

demo: venv
	$(RUN) -m kdwsd.train --flagfile=$(FLAGFILE)

test: venv
	$(RUN) -m pytest -q --numprocesses=auto --dist=loadfile \
	  --no-loadscope-reorder $(TESTS)

test-slow: venv
	$(RUN) -m pytest -q -m slow $(TESTS)

lint: venv
	$(RUN) -m ruff check .

bench: venv
	$(RUN) -m benchmarks

bench-serving: venv
	$(RUN) -m benchmarks --parts=serving --output=runs/bench/serving.json

soak: venv
	$(RUN) -m tests.soak $(SOAK)
	$(RUN) -m tests.fuzz --inputs=100000

bazel: venv
	VENV="$(VENV)" .ci/bazel query //...

clean:
	[ ! -e "$(VENV)/pyvenv.cfg" ] || rm -rf "$(VENV)"
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache \
	  .hypothesis
	find benchmarks kdwsd tests -name __pycache__ -type d -prune -exec rm -rf {} +
