# What CI calls, and what one types. The environment is .venv, the package is installed there in place (editable), and
# each target builds first what has changed. The debug build has an environment of its own, .venv-debug, and is copied
# there: compiled modules in src belong to the normal build.

SHELL := /bin/bash
PYTHON ?= $(shell pyenv which python3 2>/dev/null || command -v python3)
VENV := .venv
BIN := $(abspath $(VENV))/bin
CC_FILES = $(wildcard src/tsfast/native/*.[ch] src/tsfast/native/*/*.[ch] tests/support/*.c tests/support/*/*.c \
	examples/*/*.c)
STUBBED = $(subst /,.,$(patsubst src/%.pyi,%,$(shell find src/tsfast -name "*.pyi")))
TESTS ?=
BENCH ?=
WHEEL ?=
FUZZ_SECONDS ?= 60
NOT_TESTED := $(CURDIR)/build/not-tested
EXTRA ?= test

export TSFAST_STRICT := 1
export TSFAST_PROBES := 1

TARGETS := demo share build installed debug programs test test-debug soak fuzz fixture lint format typecheck bench \
	bench-quick wheel sanitizers sanitized valgrind coverage docs linkcheck clean distclean

.DEFAULT_GOAL := build
.PHONY: $(TARGETS) check-clean

# $(call install,WHAT) is pip install WHAT. The compilers' output is shown when they fail; else only how far it is, and
# which compiler the native programs got.
define install
	@mkdir -p build
	@echo 'building and installing tsfast into $(VENV): two to three minutes the first time'
	@set -o pipefail; PATH=$$PATH:$(BIN) $(BIN)/python -u -m pip install -v --no-build-isolation $(1) 2>&1 \
		| tee build/install.log | sed -un -e 's/^ *tsfast: //p' \
			-e 's/^ *\[ *\([0-9]*0\)\/\([0-9]*\)] Cythonizing .*/\1 of \2 modules are translated/p' || { \
		if grep -q 'running build_ext' build/install.log; then \
			sed -n '/running build_ext/,/Traceback\|subprocess-exited/p' build/install.log | \
				grep -vE '^ *(copying|building|\S*(gcc|cc) ) ?'; \
		else cat build/install.log; fi; \
		echo 'the build failed; all of its output is in build/install.log' >&2; exit 1; }
endef

requirements = $$($(BIN)/python -c 'import tomllib; table = tomllib.load(open("pyproject.toml", "rb")); \
	print(*table$(1))')

$(VENV)/.ready: pyproject.toml
	@test -x "$(PYTHON)" || { echo "no python3 found: set PYTHON" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11: set PYTHON" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo 'making the environment $(VENV) with $(PYTHON)'; \
		$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }; }
	@echo 'pip fetches what the build needs'
	@$(BIN)/python -m pip install -q $(call requirements,["build-system"]["requires"])
	@touch $@

$(VENV)/.linters: $(VENV)/.ready
	@$(BIN)/python -m pip install -q $(call requirements,["project"]["optional-dependencies"]["lint"])
	@touch $@

build: $(VENV)/.ready
	$(call install,-e .)

installed: $(VENV)/.ready
	$(call install,'.[$(EXTRA)]')

debug: # fault points and asserts; with TSFAST_SANITIZE=1 the sanitizers too
	TSFAST_DEBUG=1 $(MAKE) VENV=$(VENV)-debug installed

# A queue of its own in a temporary directory: one job, its list, its output.
demo: build
	@dir=$$(mktemp -d) && export PATH=$(BIN):$$PATH TMPDIR=$$dir TS_SOCKET=$$dir/socket TS_STATE=$$dir/state TSFAST_VAR_TMP=$$dir && \
	trap 'ts -K; rm -rf "$$dir"' EXIT && \
	id=$$(ts sh -c 'echo "hello from job $$TS_JOBID"') && \
	ts -w $$id && ts -l && ts -c $$id
	@echo 'to use it in this shell: export PATH=$(BIN):$$PATH'

# What tests run of the machine is fetched before the build, which takes some of it. It knows what can be had where.
programs: $(VENV)/.ready
	@$(BIN)/python tests/support/programs.py

# The fault tests need the debug build, the others are for the normal one. TESTS: only these, on the normal one.
test: programs
	@mkdir -p build && rm -f $(NOT_TESTED)
	$(if $(TESTS),,TSFAST_NOT_TESTED=$(NOT_TESTED) $(MAKE) test-debug TESTS=tests/system/fault)
	$(call install,-e '.[test]')
	TSFAST_NOT_TESTED=$(NOT_TESTED) $(BIN)/python -m pytest $(or $(TESTS),--ignore=tests/system/fault)

test-debug: programs debug
	$(VENV)-debug/bin/python -m pytest $(TESTS)

# The long form of the fault tests: every moment of a loss of power, death at every step, many flipped bytes, storms of
# 5,000 kills, a million changed frames.
soak: debug
	TSFAST_POWER_CUTS=all TSFAST_STORM_KILLS=5000 TSFAST_CRASH_POINTS=all TSFAST_FLIPS=400 \
		TSFAST_FUZZ_FRAMES=1000000 \
		$(VENV)-debug/bin/python -m pytest --timeout 3600 $(or $(TESTS),tests/system/fault tests/system/fuzz)

# Changed frames against a server with the sanitizers, for FUZZ_SECONDS; new forms of answer enlarge the corpus.
fuzz: sanitizers
	$(VENV)-asan/bin/python tests/system/fuzz/driver.py --keep --seconds $(FUZZ_SECONDS)

sanitizers:
	TSFAST_DEBUG=1 TSFAST_SANITIZE=1 $(MAKE) VENV=$(VENV)-asan installed
	$(VENV)-asan/bin/python tests/support/sanitized/interpreter.py

# The whole suite with ASan and UBSan in the server, the native programs and the interpreter of the tests. Whatever they
# report fails the test.
sanitized: sanitizers
	TSFAST_TEST_PATIENCE=4 $(VENV)-asan/bin/python -m pytest --timeout 1200 -m 'not unsanitized' $(TESTS)

# How much of the compiled modules the tests run, by package; as long as the suite. What fails because of the counting
# does not end it.
coverage: programs
	TSFAST_COVERAGE=1 $(MAKE) VENV=$(VENV)-coverage installed
	find build/coverage -name '*.gcda' -delete
	-TSFAST_TEST_PATIENCE=4 $(VENV)-coverage/bin/python -m pytest -q $(or $(TESTS),--ignore=tests/system/fault)
	$(VENV)-coverage/bin/python tests/support/compiled_coverage.py

# The tests of the native programs, which run under valgrind. It keeps some descriptors below the hard limit for itself.
valgrind: $(VENV)/.ready
	@$(BIN)/python tests/support/programs.py valgrind
	$(call install,-e '.[test]')
	ulimit -Sn 1024 && TSFAST_VALGRIND=1 TSFAST_TEST_PATIENCE=4 $(BIN)/python -m pytest -m 'not no_valgrind' \
		$(or $(TESTS),tests/native/launcher tests/native/runner)

# The table that later versions must be able to take up: once for each version, before its release.
fixture: debug
	$(VENV)-debug/bin/python tests/system/fault/make_table.py

lint: $(VENV)/.linters
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH=$(BIN):$$PATH $(BIN)/cython-lint src examples tests/probes
	$(BIN)/clang-format --dry-run -Werror $(CC_FILES)

format: $(VENV)/.linters
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CC_FILES)

typecheck: $(VENV)/.ready
	$(call install,-e '.[dev]')
	$(BIN)/mypy
	$(if $(STUBBED),$(BIN)/stubtest --ignore-missing-stub $(STUBBED))

share: build # manual page, completions, pages that are written from tables, and the picture of a queue
	$(BIN)/python share/build.py
	$(BIN)/python share/picture.py
	PYTHONPATH=tests $(BIN)/python tests/system/compat/differences.py >docs/differences.md

# The pages of docs as a site in build/docs; warnings are errors. linkcheck asks for the pages that they lead to.
docs linkcheck: $(VENV)/.ready
	$(call install,-e '.[docs]')
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees -b $(if $(filter docs,$@),html docs build/docs,linkcheck docs build/linkcheck)
	@echo "$(if $(filter docs,$@),build/docs/index.html)"

# Side by side with the peers that are installed. Figures, not tests: nothing fails on a slow machine. Measured is the
# package as users install it, in an environment of its own. BENCH: only these questions; `make bench` keeps what it has
# of the others and writes docs/benchmarks.md from all.
bench bench-quick:
	$(MAKE) VENV=$(VENV)-bench EXTRA=bench installed
	$(VENV)-bench/bin/python bench/run.py $(if $(filter bench-quick,$@),--quick) $(BENCH)

# As it would be published, for the Python of the environment, built twice and checked, and the sdist: in wheels/dist.
# WHEEL="--tests all" runs the whole suite against the installed wheel; wheels/build.py -h has the other options.
wheel: $(VENV)/.ready
	$(BIN)/python wheels/build.py $(WHEEL)

# Each target in a clean clone of its own, as if it were the first that somebody types. By hand: it takes an hour or
# two. Of the long ones a short form; what is not committed is not tried.
SHORT_test-debug = TESTS=tests/system/fault/test_tables.py
SHORT_soak = TESTS=tests/system/fault/test_tables.py
SHORT_sanitized = TESTS=tests/project/test_packaging.py
SHORT_valgrind = TESTS=tests/native/runner/test_runner_output.py
SHORT_coverage = TESTS=tests/scheduler
SHORT_fuzz = FUZZ_SECONDS=5
SHORT_bench = BENCH=submit
SHORT_bench-quick = BENCH=submit
SHORT_wheel = WHEEL="--tests none"

check-clean: $(TARGETS:%=check-clean-%)

check-clean-%:
	@rm -rf build/clean/$* && mkdir -p build/clean && git clone -q . build/clean/$*
	@echo 'make $* $(SHORT_$*)'
	@env -u MAKEFLAGS $(MAKE) -C build/clean/$* $* $(SHORT_$*) PYTHON=$(PYTHON) >build/clean/$*.log 2>&1 \
		|| { tail -n 30 build/clean/$*.log; echo 'all of it is in build/clean/$*.log' >&2; exit 1; }
	@rm -rf build/clean/$*

clean:
	rm -rf build dist wheels/dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	rm -f src/tsfast/native/ts-run src/tsfast/_compiled.py
	find src -name '*.so' -delete
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) $(VENV)-debug $(VENV)-asan $(VENV)-bench $(VENV)-coverage
