# make demo    train the embedded demo, 16 to 20 minutes on 2 cores
# make test    the tests;  make test-slow  the ones that take minutes
# make lint    ruff
# make bench   images/s, memory, share of the machine's matmul peak
# make bench-serving   latency and throughput of exports and of the server
# make soak    kill programs again and again, train with one seed again and
#              again, read 100,000 damaged inputs: half an hour or more;
#              make soak SOAK="--kills=100 --seed=7"
# make clean   remove what make made, but not runs/
#
# The first of them makes .venv with the versions of .ci/constraints.txt. It
# looks for a Python 3.9-3.11; name one with  PYTHON=python3.11 make demo
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

# Always asked, answers at once when nothing changed: a stale or half-made
# environment is noticed even though its files look new.
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
