# make demo    train the embedded demo, 16 to 20 minutes on 2 cores
# make test    run the tests;  make test-slow  those that take minutes
# make test-lanes  run the tests in both lanes: TensorFlow 2.15 and 2.20
# make test-gpu  run the tests that need a GPU, less than 3 minutes
# make lint    run ruff
# make bench   measure images/s, memory, share of the machine's matmul peak
# make bench-serving   measure latency and throughput of exports and the server
# make bench-size  run each part through as many images as MS-COCO has: hours,
#              8 GB; then through as many as 9,600 classes;
#              make bench-size PHOTOGRAPHS=coco/train2017
# make soak    kill programs at random, repeat trainings with the same seed, and
#              read 100,000 damaged inputs: half an hour or more;
#              make soak SOAK="--kills=100 --seed=7"
# make clean   remove .venv*, build files and caches, but not runs/
#
# The first make creates the environment, .venv. If there is a Python 3.9 to
# 3.11, it installs TensorFlow 2.15 (the classic lane); else, with Python 3.12
# or 3.13, TensorFlow 2.20 (the modern lane). PYTHON=python3.12 make demo
# chooses the Python. LANE=modern or LANE=classic chooses the lane, and has its
# own .venv-modern or .venv-classic. CUDA=1 or CUDA=0 installs CUDA's libraries
# or does not; without it, where there is an NVIDIA GPU.
LANE ?=
VENV ?= .venv$(if $(LANE),-$(LANE))
PYTHON ?=
CUDA ?=
RUN = "$(VENV)/bin/python"
FLAGFILE ?= flags/demo/all.flags
TESTS ?= tests
SOAK ?=
PHOTOGRAPHS ?=

.PHONY: help venv demo test test-lanes test-slow test-gpu lint bench \
  bench-serving bench-size soak bazel clean
help:
	@sed -n 's/^# \{0,1\}//p;/^LANE ?=/q' Makefile

# Always runs, and returns at once if nothing has changed: the script notices a
# stale or incomplete environment, which make cannot tell by file times.
venv:
	@VENV="$(VENV)" LANE="$(LANE)" PYTHON="$(PYTHON)" CUDA="$(CUDA)" \
	  .ci/make-venv

demo: venv
	$(RUN) -m kdwsd.train --flagfile=$(FLAGFILE)

test: venv
	$(RUN) -m pytest -q --numprocesses=auto --dist=loadfile \
	  --no-loadscope-reorder $(TESTS)

test-lanes:
	$(MAKE) --no-print-directory test LANE=classic VENV=.venv-classic
	KDWSD_OTHER_LANE=.venv-classic/bin/python \
	  $(MAKE) --no-print-directory test LANE=modern VENV=.venv-modern

test-slow: venv
	$(RUN) -m pytest -q -m slow $(TESTS)

test-gpu: venv
	$(RUN) -m tests.gpu

lint: venv
	$(RUN) -m ruff check .

bench: venv
	$(RUN) -m benchmarks

bench-serving: venv
	$(RUN) -m benchmarks --parts=serving --output=runs/bench/serving.json

bench-size: venv
	$(RUN) -m benchmarks.coco_size --photographs="$(PHOTOGRAPHS)"
	$(RUN) -m benchmarks.many_classes

soak: venv
	$(RUN) -m tests.soak $(SOAK)
	$(RUN) -m tests.fuzz --inputs=100000

bazel: venv
	VENV="$(VENV)" .ci/bazel query //...

clean:
	for venv in "$(VENV)" .venv .venv-classic .venv-modern; do \
	  [ ! -e "$$venv/pyvenv.cfg" ] || rm -rf "$$venv"; done
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache \
	  .hypothesis
	find benchmarks kdwsd tests -name __pycache__ -type d -prune -exec rm -rf {} +
