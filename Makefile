# Two commands do everything on a fresh machine: `make session` and `make test`.

PYTHON ?= python3
# Options for Snakemake, such as: make session ARGS="--config rounds=30 session=night"
ARGS ?=
# How many tests run side by side: some wait for a clock more than they compute
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 2)')

# Folder that the environments are set up in
ENVS ?= .
# For `make image`: the engine, the image's name, and another base than the Dockerfile's
ENGINE ?= docker
IMAGE ?= ratchet:0.1.0
BASE_IMAGE ?=
BASE_DIGEST ?=
BUILD ?=

UV := $(ENVS)/.uv/bin/uv
DEV := $(ENVS)/.venv-dev
PACKAGE := pyproject.toml LICENSE README.md

.DEFAULT_GOAL := help
.PHONY: help env env-dev env-agents env-gpt env-slurm env-kubernetes env-mcp env-notebook env-trackers env-mirror session pictures rulegraph test check image lock bench bench-malformed bench-proposing clean

help:
	@echo "make session   set up the locked environment and run a session (config/config.yaml)"
	@echo "make test      set up the test environment; run linters, types and all tests"
	@echo "make test-fast the linters, and the unit tests that take no more than a moment"
	@echo "make env       only set up the locked environment in .venv"
	@echo "make env-slurm, make env-kubernetes   for the profiles of clusters"
	@echo "make env-mcp   for coding agents that call Ratchet's tools (ratchet mcp)"
	@echo "make env-notebook   to open docs/analysis.ipynb in Jupyter, in .venv-notebook"
	@echo "make env-trackers   for sessions that report to trackio, wandb or mlflow, in .venv-trackers"
	@echo "make env-mirror   for sessions whose mirror is object storage (S3), in .venv-mirror"
	@echo "make env-gpt   set up the environment of tasks/gpt in .venv-gpt (PyTorch with CUDA)"
	@echo "make env-agents   coding agents that their tests drive, in .venv-agents (needs npm)"
	@echo "make bench     harness seconds, start-up, keeping, steering and tournaments in simulation"
	@echo "make bench-malformed   5,000 malformed files through all that reads candidates' files"
	@echo "make bench-proposing   the default task with each of the built-in proposers; hours"
	@echo "make image     build the container image (BASE_IMAGE=... for another base, ENGINE=podman)"
	@echo "make pictures  run the default session and take the README's pictures of its report"
	@echo "make rulegraph draw which rule needs which, into docs/rulegraph.svg"
	@echo "make lock      make the hash locks in envs/ again from their .in files"
	@echo "make clean     remove the environments and caches; never results or store"

# uv itself, at the version and hashes of envs/uv.lock.
$(UV): envs/uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Ratchet needs Python 3.11 or newer, $(PYTHON) is `$(PYTHON) -V`; try: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(ENVS)/.uv \
		|| { echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(ENVS)/.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r envs/uv.lock
	@touch $@

# $(call environment,FOLDER,LOCK): exactly the packages of the lock, and this one.
# All is compiled at once: where PYTHONDONTWRITEBYTECODE is set, as it is in many images,
# nothing would ever be, and each start of Snakemake or of a step would take twice as long.
define environment
	@echo "setting up $(1) from $(2)"
	@$(UV) venv --quiet --clear --python $(PYTHON) $(1)
	@$(UV) pip sync --quiet --compile-bytecode --require-hashes --python $(1) $(2)
	@$(UV) pip install --quiet --no-deps --no-build-isolation --python $(1) --editable .
	@$(1)/bin/python -m compileall -q workflow_scripts
	@touch $@
endef

$(ENVS)/.venv/.ready: $(UV) envs/workflow.lock $(PACKAGE)
	$(call environment,$(ENVS)/.venv,envs/workflow.lock)

$(ENVS)/.venv-dev/.ready: $(UV) envs/dev.lock $(PACKAGE)
	$(call environment,$(ENVS)/.venv-dev,envs/dev.lock)

$(ENVS)/.venv-slurm/.ready: $(UV) envs/slurm.lock $(PACKAGE)
	$(call environment,$(ENVS)/.venv-slurm,envs/slurm.lock)

$(ENVS)/.venv-kubernetes/.ready: $(UV) envs/kubernetes.lock $(PACKAGE)
	$(call environment,$(ENVS)/.venv-kubernetes,envs/kubernetes.lock)
	@$(ENVS)/.venv-kubernetes/bin/python profiles/kubernetes/enable.py

$(ENVS)/.venv-mcp/.ready: $(UV) envs/mcp.lock $(PACKAGE)
	$(call environment,$(ENVS)/.venv-mcp,envs/mcp.lock)

$(ENVS)/.venv-notebook/.ready: $(UV) envs/notebook.lock $(PACKAGE)
	$(call environment,$(ENVS)/.venv-notebook,envs/notebook.lock)

$(ENVS)/.venv-trackers/.ready: $(UV) envs/trackers.lock $(PACKAGE)
	$(call environment,$(ENVS)/.venv-trackers,envs/trackers.lock)

$(ENVS)/.venv-mirror/.ready: $(UV) envs/mirror.lock $(PACKAGE)
	$(call environment,$(ENVS)/.venv-mirror,envs/mirror.lock)

$(ENVS)/.venv-bench/.ready: $(UV) envs/bench.lock $(PACKAGE)
	$(call environment,$(ENVS)/.venv-bench,envs/bench.lock)

# A task's own environment, nothing of Ratchet in it: `make env-gpt` makes .venv-gpt.
$(ENVS)/.venv-gpt/.ready: $(UV) envs/gpt.lock
	@echo "setting up $(@D) from envs/gpt.lock"
	@$(UV) venv --quiet --clear --python $(PYTHON) $(@D)
	@$(UV) pip sync --compile-bytecode --require-hashes --python $(@D) envs/gpt.lock
	@touch $@

# Coding agents of others at pinned versions, for tests/services/test_agent_tools.py.
$(ENVS)/.venv-agents/.ready: $(UV) envs/agents/package.json envs/aider.lock
	@command -v npm >/dev/null || { echo "make env-agents installs with npm, which is not on the PATH" >&2; exit 1; }
	@rm -rf $(@D) && mkdir -p $(@D)/bin && cp envs/agents/package.json $(@D)
	@cd $(@D) && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@$(UV) venv --quiet --python $(PYTHON) $(@D)/aider
	@$(UV) pip sync --quiet --require-hashes --python $(@D)/aider envs/aider.lock
	@cd $(@D)/bin && ln -s ../node_modules/.bin/* ../aider/bin/aider .
	@touch $@

env-agents: $(ENVS)/.venv-agents/.ready

env-gpt: $(ENVS)/.venv-gpt/.ready

env: $(ENVS)/.venv/.ready

env-dev: $(ENVS)/.venv-dev/.ready

env-slurm: $(ENVS)/.venv-slurm/.ready

env-kubernetes: $(ENVS)/.venv-kubernetes/.ready

env-mcp: $(ENVS)/.venv-mcp/.ready

env-notebook: $(ENVS)/.venv-notebook/.ready

env-mirror: $(ENVS)/.venv-mirror/.ready

env-trackers: $(ENVS)/.venv-trackers/.ready

session: $(ENVS)/.venv/.ready
	@$(ENVS)/.venv/bin/snakemake --cores 1 $(ARGS)

# The README's pictures, of the default session; it needs a Chromium on the PATH.
pictures: session
	@PYTHONPATH=tests $(ENVS)/.venv/bin/python -m helpers.pictures results/default tests/data/pictures

# Which rule needs which, of sessions and tournaments; it needs Graphviz.
rulegraph: $(ENVS)/.venv-dev/.ready
	@command -v dot >/dev/null \
		|| { echo "make rulegraph draws with Graphviz, whose dot is not on the PATH; on Debian and Ubuntu: apt-get install graphviz" >&2; exit 1; }
	@mkdir -p docs
	@$(DEV)/bin/snakemake all evolve --rulegraph --config session=rulegraph > docs/rulegraph.dot
	@dot -Tsvg docs/rulegraph.dot -o docs/rulegraph.svg
	@rm docs/rulegraph.dot
	@echo "docs/rulegraph.svg"

check: $(ENVS)/.venv-dev/.ready
	$(DEV)/bin/ruff check
	$(DEV)/bin/ruff format --check
	$(DEV)/bin/mypy
	$(DEV)/bin/snakefmt --check --compact-diff Snakefile rules
	$(DEV)/bin/snakemake --lint --config session=lint
	$(DEV)/bin/hadolint Dockerfile
	$(DEV)/bin/shellcheck --external-sources --source-path=SCRIPTDIR workflow_scripts/ratchet/skill/scripts/*.sh

test: check
	PYTHONDONTWRITEBYTECODE= $(DEV)/bin/pytest -n $(WORKERS) --dist worksteal --durations=25 -rs

# Without the modules that tests/unit/conftest.py names; no engine, browser or GPU needed.
test-fast: check
	PYTHONDONTWRITEBYTECODE= $(DEV)/bin/pytest -n $(WORKERS) --dist worksteal -m "not slow" tests/unit

image:
	DOCKER_BUILDKIT=1 $(ENGINE) build \
		$(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg BASE_DIGEST=$(BASE_DIGEST)) \
		--build-arg REVISION=$(shell git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown) \
		$(BUILD) --tag $(IMAGE) .

bench: $(ENVS)/.venv-dev/.ready $(ENVS)/.venv-bench/.ready
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/overhead.py
	$(ENVS)/.venv-bench/bin/python tests/bench/startup.py
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/recording.py
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/compiling.py
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/mirroring.py
	$(DEV)/bin/python tests/bench/long_logs.py
	$(ENVS)/.venv-bench/bin/python tests/bench/judging.py
	$(ENVS)/.venv-bench/bin/python tests/bench/steering.py
	$(DEV)/bin/python tests/bench/guarantee.py
	$(DEV)/bin/python tests/bench/certify.py
	$(DEV)/bin/pytest tests/bench/calibration.py
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/busy.py
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/cheats.py
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/cheats_gpt.py
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/carrying.py --seeds 2
	$(ENVS)/.venv-bench/bin/python tests/bench/evolve.py

bench-malformed: $(ENVS)/.venv-dev/.ready
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/malformed.py

bench-proposing: $(ENVS)/.venv-dev/.ready
	PYTHONPATH=tests $(DEV)/bin/python tests/bench/proposing.py

lock: $(UV)
	@for name in uv workflow bytelm gpt dev bench slurm kubernetes mcp notebook trackers mirror node aider; do \
		constraint=; \
		case $$name in bytelm|gpt|dev|bench|slurm|kubernetes|mcp|notebook|trackers|mirror) constraint="-c envs/workflow.lock" ;; esac; \
		echo "envs/$$name.lock"; \
		$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--no-header --no-emit-index-url --no-emit-find-links \
			$$constraint envs/$$name.in -o envs/$$name.lock || exit 1; \
	done

clean:
	rm -rf $(addprefix $(ENVS)/,.venv .venv-dev .venv-bench .venv-gpt .venv-slurm .venv-kubernetes .venv-mcp .venv-notebook .venv-trackers .venv-mirror .venv-agents .uv) build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -not -path './store/*' -prune -exec rm -rf {} +
