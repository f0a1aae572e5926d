# Each target sets up what it needs: `make chat` works in a fresh clone. Needs make, Python 3.11+;
# for the compiled twin a C compiler. Variables: PYTHON, VENV; HOST, PORT, DATA, WSCORE_… (chat);
# JOBS, PYTEST_ARGS (test); BENCH_ARGS (bench); FUZZ_SECONDS (fuzz); PROVE_SECONDS (prove); WSTEST,
# AUTOBAHN_ARGS (autobahn).

PYTHON ?= python3
VENV ?= .venv
HOST ?= 127.0.0.1
PORT ?= 8765
DATA ?= chat.db
JOBS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS ?=
AUTOBAHN_ARGS ?=
FUZZ_SECONDS ?= 60
PROVE_SECONDS ?= 60

PY := $(VENV)/bin/python
# Half of the time tests wait for browsers and servers. A file is run by one process, in its order.
PARALLEL = -n $(JOBS) --dist loadfile
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Everything an installation is made from; the package itself is installed editable.
SOURCES := pyproject.toml setup.py wscore/_version.py $(wildcard src_cython/*.* src_cython/*/*)

# -P keeps the checkout off the path, so that the sanitized copy is the one that is imported; the
# sanitizers come first, and Python asks malloc for each object so that they see it.
SANITIZED = PYTHONPATH=build/sanitize WSCORE_REQUIRE_EXT=1 PYTHONMALLOC=malloc \
  LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0:handle_segv=0:allocator_may_return_null=1 UBSAN_OPTIONS=halt_on_error=1 $(PY) -P
SANITIZED_TESTS := $(addprefix tests/test_,$(addsuffix .py,framing decoder events connection extensions prepared_message dependants_habits handshake memory take_messages threads)) \
  $(addprefix tests/transport/test_,$(addsuffix .py,wires broadcast calls sending connection violations))

.DEFAULT_GOAL := help
.PHONY: help chat test lint bench regression regression-programs autobahn sanitize fuzz prove coverage wsproto-suite trio-websocket-suite dependants-suites build clean distclean test-programs
.NOTPARALLEL:

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

chat: $(VENV)/.stamp-chat  ## the chat and its page on http://HOST:PORT/, history in DATA
	@$(PY) -c 'from wscore import _framing as f; \
	  print("wscore runs on the compiled twin, mask kernel " + f.KERNEL if f.IMPLEMENTATION == "cython" else \
	  "wscore runs on the Python twin: slower, otherwise the same (the compiled one is switched off or could not be built)")'
	@exec $(PY) -m wscore chat --host "$(HOST)" --port "$(PORT)" --data "$(DATA)"

test: $(VENV)/.stamp-test test-programs  ## the whole suite, then core and transport on the Python twin
ifneq ($(WSCORE_BUILD_EXT),0)
	@echo "== the whole suite on the compiled twin"
	WSCORE_REQUIRE_EXT=1 $(PY) -m pytest $(PARALLEL) $(PYTEST_ARGS)
	@echo "== core and transport on the Python twin"
	WSCORE_PURE_PYTHON=1 $(PY) -m pytest $(PARALLEL) $(PYTEST_ARGS) $(wildcard tests/test_*.py) tests/transport
else
	@echo "== the whole suite on the Python twin"
	WSCORE_PURE_PYTHON=1 $(PY) -m pytest $(PARALLEL) $(PYTEST_ARGS)
endif

lint: $(VENV)/.stamp-dev  ## ruff, mypy --strict, the stub against the compiled module
	$(PY) -m ruff check
	$(PY) -m ruff format --check --quiet
	$(PY) -m mypy
ifneq ($(WSCORE_BUILD_EXT),0)
	$(PY) -m mypy.stubtest wscore._framing_c wscore._flow_c wscore._fanout_c --concise
endif

bench: $(VENV)/.stamp-dev  ## ratios to the peers and the goals, side by side in one run
	$(PY) -m benchmarks $(BENCH_ARGS)

regression: $(VENV)/.stamp-dev regression-programs  ## instructions of the core's operations, counted by valgrind, against those recorded
	$(PY) -m benchmarks.regression

build/sanitize/.stamp: $(VENV)/.stamp-dev $(SOURCES) $(shell find wscore -name '*.py')
	@echo "== building the compiled twin with sanitizers in build/sanitize"
	rm -rf build/sanitize
	WSCORE_SANITIZE=1 WSCORE_BUILD_EXT=1 $(PY) setup.py -q build --build-base build/sanitize/tmp --build-lib build/sanitize
	$(SANITIZED) -c 'import wscore._framing_c as f; assert "sanitize" in f.__file__, f.__file__'
	@touch $@

sanitize: build/sanitize/.stamp  ## tests of all that is compiled under AddressSanitizer and UBSan
	$(SANITIZED) -m pytest -p no:cacheprovider $(PYTEST_ARGS) $(SANITIZED_TESTS)

fuzz: build/sanitize/.stamp  ## fuzz the core for FUZZ_SECONDS, then what that found under the sanitizers
	$(PY) tests/fuzz/run.py --seconds $(FUZZ_SECONDS)
	$(SANITIZED) tests/fuzz/run.py --replay

prove: $(VENV)/.stamp-test  ## a chat server killed, stopped and starved for PROVE_SECONDS: nothing is lost
	PYTHONPATH=tests $(PY) -m chat.prover --seconds $(PROVE_SECONDS)

# Few examples, the same each time, and without the tests that go through everything at once: each
# module is covered by tests of its own.
COVERED := $(addprefix tests/test_,$(addsuffix .py,connection decoder errors events extensions dependants_habits frame_protocol framing handshake prepared_message take_messages))
MEASURED = HYPOTHESIS_PROFILE=coverage $(PY) -m coverage run -m pytest -q -p no:cacheprovider $(PYTEST_ARGS) $(COVERED)

coverage: $(VENV)/.stamp-dev  ## every branch of the core's Python part, on both twins together
	$(PY) -m coverage erase
	WSCORE_REQUIRE_EXT=1 $(MEASURED)
	WSCORE_PURE_PYTHON=1 $(MEASURED)
	$(PY) -m coverage combine -q
	$(PY) -m coverage report

wsproto-suite: $(VENV)/.stamp-dev  ## wsproto's own tests with wscore in its place
	$(PY) tests/foreign_suites/of_wsproto.py

trio-websocket-suite: $(VENV)/.stamp-dev  ## trio-websocket's own tests with wscore.trio in its place
	$(PY) tests/foreign_suites/of_trio_websocket.py

dependants-suites: $(VENV)/.stamp-dev  ## the own tests of hypercorn, uvicorn and others on wscore; takes minutes
	$(PY) tests/dependants_suites/run.py

autobahn: $(VENV)/.stamp-dev  ## the Autobahn TestSuite's quick set; WSTEST names its wstest
	$(PY) tests/autobahn/run.py $(AUTOBAHN_ARGS)

build: $(VENV)/.stamp-dev  ## sdist and wheel into dist/
	$(PY) -m build

clean:  ## remove what building and testing made
	rm -rf build dist reports wscore.egg-info .coverage .coverage.* wscore/_*_c.*.so $(VENV)/.stamp-chat $(VENV)/.stamp-test $(VENV)/.stamp-dev
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find wscore tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## and the virtual environment
	rm -rf $(VENV)

$(VENV)/.stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "wscore needs Python 3.11 or newer, and \`$(PYTHON)\` is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "== virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Could not make it. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

# dev includes test includes chat, so an installation of more serves the targets that need less.
$(VENV)/.stamp-chat: $(VENV)/.stamp-venv $(SOURCES)
	@echo "== installing wscore[chat,jwt,metrics] (the first time takes a minute)"
	@$(PY) -m pip install --quiet --editable '.[chat,jwt,metrics]'
	@touch $@

$(VENV)/.stamp-test $(VENV)/.stamp-dev: $(VENV)/.stamp-venv $(SOURCES)
	@echo "== installing wscore[$(subst .stamp-,,$(@F))] (the first time takes some minutes)"
	@WSCORE_BUILD_EXT=$${WSCORE_BUILD_EXT-1} $(PY) -m pip install --quiet --editable '.[$(subst .stamp-,,$(@F))]' || { \
	  echo "The compiled twin needs a C compiler and Python's headers. On Debian and Ubuntu:" >&2; \
	  echo "apt-get install gcc python3-dev. Without: make $(MAKECMDGOALS) WSCORE_BUILD_EXT=0" >&2; exit 1; }
	@touch $(VENV)/.stamp-chat $(VENV)/.stamp-test $@

# Programs, and the Debian packages they are in where those have other names.
test-programs: PROGRAMS = chromium redis-server nginx haproxy ip:iproute2 node:nodejs
regression-programs: PROGRAMS = valgrind

test-programs regression-programs:
	@missing=; PATH="$$PATH:/usr/sbin:/sbin"; \
	for program in $(PROGRAMS); do \
	  command -v "$${program%:*}" >/dev/null || missing="$$missing $${program#*:}"; \
	done; \
	test -z "$$missing" && exit 0; \
	if test "$$(id -u)" = 0; then sudo=; else sudo="sudo -n"; fi; \
	if command -v apt-get >/dev/null && $$sudo true 2>/dev/null; then \
	  echo "== installing$$missing"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  $$sudo apt-get update -qq && $$sudo apt-get install -qq -y --no-install-recommends $$missing && exit 0; \
	fi; \
	echo "make $(@:-programs=) runs programs that are not Python's. Please install:$$missing" >&2; \
	echo "(Debian: apt-get install$$missing), then run make $(@:-programs=) again." >&2; exit 1
