# Two commands do everything on a fresh machine: `make session` and `make test`.

PYTHON ?= python3
# Options for Snakemake, such as: make session ARGS="--config rounds=30 session=night"
ARGS ?=
# How many tests run side by side
WORKERS ?= auto

UV := .uv/bin/uv
PACKAGE := pyproject.toml LICENSE README.md

.DEFAULT_GOAL := help
.PHONY: help env session test check lock bench clean

help:
	@echo "make session   set up the locked environment and run a session (config/config.yaml)"
	@echo "make test      set up the test environment; run linters, types and all tests"
	@echo "make env       only set up the locked environment in .venv"
	@echo "make bench     harness seconds, start-up, rules for keeping and steering in simulated sessions"
	@echo "make lock      make the hash locks in envs/ again from their .in files"
	@echo "make clean     remove the environments and caches; never results or store"

# uv itself, at the version and hashes of envs/uv.lock.
$(UV): envs/uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Ratchet needs Python 3.11 or newer, $(PYTHON) is `$(PYTHON) -V`; try: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .uv \
		|| { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/uv.lock
	@touch $@

# $(call environment,FOLDER,LOCK): exactly the packages of the lock, and this one.
define environment
	@echo "setting up $(1) from $(2)"
	@$(UV) venv --quiet --clear --python $(PYTHON) $(1)
	@$(UV) pip sync --quiet --require-hashes --python $(1) $(2)
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(1) --editable .
	@touch $@
endef

.venv/.ready: $(UV) envs/workflow.lock $(PACKAGE)
	$(call environment,.venv,envs/workflow.lock)

.venv-dev/.ready: $(UV) envs/dev.lock $(PACKAGE)
	$(call environment,.venv-dev,envs/dev.lock)

.venv-bench/.ready: $(UV) envs/bench.lock $(PACKAGE)
	$(call environment,.venv-bench,envs/bench.lock)

env: .venv/.ready

session: .venv/.ready
	@.venv/bin/snakemake --cores 1 $(ARGS)

check: .venv-dev/.ready
	.venv-dev/bin/ruff check
	.venv-dev/bin/ruff format --check
	.venv-dev/bin/mypy
	.venv-dev/bin/snakefmt --check --compact-diff Snakefile rules
	.venv-dev/bin/snakemake --lint

test: check
	.venv-dev/bin/pytest -n $(WORKERS)

bench: .venv-dev/.ready .venv-bench/.ready
	.venv-dev/bin/python tests/bench/overhead.py
	.venv-bench/bin/python tests/bench/startup.py
	.venv-bench/bin/python tests/bench/judging.py
	.venv-bench/bin/python tests/bench/steering.py
	.venv-dev/bin/python tests/bench/guarantee.py

lock: $(UV)
	@for name in uv workflow bytelm dev bench; do \
		constraint=; \
		case $$name in bytelm|dev|bench) constraint="-c envs/workflow.lock" ;; esac; \
		echo "envs/$$name.lock"; \
		$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-header --no-emit-index-url --no-emit-find-links \
			$$constraint envs/$$name.in -o envs/$$name.lock || exit 1; \
	done

clean:
	rm -rf .venv .venv-dev .venv-bench .uv build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './store/*' -prune -exec rm -rf {} +
