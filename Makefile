# Every target sets itself up: virtual environment, dependencies, compiled modules. Nothing needs activating.
# Stamps under .venv and build/ remember what is done, so a second run starts at once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# PYTHON=/path/to/python3.12 chooses the interpreter; otherwise the first one on PATH that is 3.11 or newer.
PYTHON ?=
# Arguments of `margrave serve` under `make run`, of pytest under `make test`, of `margrave bench` under `make bench`.
SERVE ?= --feed sim --bots
TESTS ?=
# Processes that run tests: one a core, at most eight; 0 runs them in pytest's own (TESTS="--pdb" needs that).
WORKERS ?= $(shell echo $$(( $(JOBS) < 2 ? 0 : $(JOBS) < 8 ? $(JOBS) : 8 )))
BENCHES ?= matching margin engine gateway journal

PACKAGES := exchange gateway loadtest margin_ext persistence
SOURCES := $(shell find $(PACKAGES) \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h' \) 2>/dev/null)

say = printf '\033[1m==> %s\033[0m\n'
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --constraint constraints.txt
# The requirements of an extra of pyproject.toml ("" for the plain dependencies), one per line.
requirements = $(BIN)/python -c 'import sys, tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
  print("\n".join(p["optional-dependencies"][sys.argv[1]] if sys.argv[1] else p["dependencies"]))'

.PHONY: help run test test-full bench lint build clean

help: ## this list
	@echo "Margrave: make TARGET (each sets up what it needs in $(VENV))"
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  %-10s %s\n", $$1, $$2}'

run: $(STAMPS)/run $(STAMPS)/compiled ## serve a local venue: simulated feed and trading bots (SERVE="..." replaces its arguments)
	@$(say) "margrave serve $(SERVE) (Ctrl-C stops it)"
	@$(BIN)/margrave serve $(SERVE)

test: $(STAMPS)/test $(STAMPS)/compiled ## the tests, without those marked full (TESTS="..." adds pytest arguments)
	@$(say) "Testing"
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not full" $(TESTS)

test-full: $(STAMPS)/test $(STAMPS)/compiled ## every test, with the large property-test profile
	@$(say) "Testing, everything"
	@MARGRAVE_PROFILE=full $(BIN)/python -m pytest -n $(WORKERS) --timeout=1800 $(TESTS)

bench: $(STAMPS)/bench $(STAMPS)/compiled ## the benchmarks, with their peers measured beside (BENCHES="matching ...")
	@for name in $(BENCHES); do $(say) "margrave bench $$name"; $(BIN)/margrave bench $$name; done

lint: $(STAMPS)/lint ## ruff, format, mypy --strict, import contracts, cython-lint
	@failed=; \
	step() { printf '\033[1m==> %s\033[0m\n' "$$1"; shift; "$$@" || failed=yes; }; \
	export PATH="$(CURDIR)/$(BIN):$$PATH"; \
	step "ruff check" ruff check --output-format=concise .; \
	step "ruff format --check" ruff format --check --quiet --output-format=concise .; \
	step "mypy --strict (exchange)" mypy; \
	step "import-linter" lint-imports; \
	step "cython-lint" cython-lint $(PACKAGES); \
	[ -z "$$failed" ]

build: $(STAMPS)/run $(STAMPS)/compiled ## compile in place, then the wheel into dist/
	@$(say) "Building the wheel into dist/"
	@rm -rf build/lib* build/bdist*
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -w dist .
	@ls -1 dist/*.whl

clean: ## remove the environment, compiled modules and caches
	@$(say) "Removing $(VENV), build, dist, compiled modules and caches"
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find $(PACKAGES) -name '*.so' -delete
	@find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ---------------------------------------------------------------------------------------------------------

# Everything missing is named, with its Debian package, before anything is tried.
define CHECK_MACHINE
missing=(); python="$(PYTHON)"; \
is_new() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
if [ -z "$$python" ]; then for one in python3 python3.13 python3.12 python3.11 python3.14; do \
  if is_new "$$one"; then python=$$one; break; fi; done; fi; \
if [ -z "$$python" ] || ! is_new "$$python"; then \
  missing+=("Python 3.11 or newer$${python:+ ($$python is older or does not start)}: Debian package python3"); \
else \
  version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
  "$$python" -c 'import venv, ensurepip' 2>/dev/null || \
    missing+=("the venv module of $$python: Debian package python$$version-venv"); \
  header=$$("$$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h; \
  [ -e "$$header" ] || missing+=("$$header: Debian package python$$version-dev"); \
fi; \
compiler="$${CC:-$$(command -v cc || command -v gcc || command -v clang || true)}"; \
[ -n "$$compiler" ] && command -v $${compiler%% *} >/dev/null || missing+=("a C compiler: Debian package gcc"); \
if [ -n "$$compiler" ] && ! printf '#include <stdlib.h>\n' | $$compiler -E - >/dev/null 2>&1; then \
  missing+=("the C library's headers: Debian package libc6-dev"); fi; \
if [ $${#missing[@]} -gt 0 ]; then echo "Missing on this machine:" >&2; printf '  - %s\n' "$${missing[@]}" >&2; exit 1; fi
endef

$(STAMPS)/venv:
	@$(CHECK_MACHINE); \
	if ! [ -x $(BIN)/python ]; then $(say) "Creating $(VENV) with $$python $$version"; "$$python" -m venv $(VENV); fi
	@mkdir -p $(STAMPS); touch $@

$(STAMPS)/tools: $(STAMPS)/venv constraints.txt pyproject.toml
	@$(say) "Installing the build tools (setuptools, Cython)"
	@$(PIP) setuptools cython
	@touch $@

$(STAMPS)/run: $(STAMPS)/tools constraints.txt pyproject.toml
	@$(say) "Installing the dependencies (a minute or so the first time)"
	@$(requirements) '' > $(STAMPS)/run.txt; $(PIP) --requirement $(STAMPS)/run.txt
	@MARGRAVE_EXT=none $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --no-build-isolation --editable .
	@touch $@

$(STAMPS)/test $(STAMPS)/bench: $(STAMPS)/%: $(STAMPS)/run
	@$(say) "Installing what $* needs (a minute or so the first time)"
	@$(requirements) $* > $(STAMPS)/$*.txt
	@$(PIP) --requirement $(STAMPS)/$*.txt
	@touch $@

$(STAMPS)/lint: $(STAMPS)/run
	@$(say) "Installing what lint needs"
	@$(requirements) lint > $(STAMPS)/lint.txt; $(PIP) --requirement $(STAMPS)/lint.txt
	@touch $@

$(STAMPS)/compiled: $(STAMPS)/tools setup.py $(SOURCES)
	@$(say) "Compiling"
	@$(BIN)/python setup.py -q build_ext --inplace --parallel $(JOBS)
	@touch $@
