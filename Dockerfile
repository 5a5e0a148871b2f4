# One image for the harness, for its runs and for development.
#
#   make image                                        the defaults below
#   make image BASE_IMAGE=debian:bookworm-slim        without CUDA (digest of your own choice)
#   docker run --rm -v ratchet:/data ratchet:0.1.0    the default session
#
# The base needs apt-get and a Python of 3.11 or newer among its packages.
ARG BASE_IMAGE=docker.io/nvidia/cuda:13.0.3-base-ubuntu24.04
ARG BASE_DIGEST=sha256:7c7413a56200486f71f181cad9310f6fd31b6bb21816ade15fc9c1e1e927a5c1
# What the environment of the harness is made of.
ARG LOCK=envs/workflow.lock
# Tasks with an environment of their own that is to be in the image: gpt, say.
ARG TASKS=

# ---------------------------------------------------------------- system
# Development containers' own tool reads this line too, and knows no braces in braces.
FROM ${BASE_IMAGE}${BASE_DIGEST:+@}${BASE_DIGEST} AS system
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# git keeps a session's history, bubblewrap keeps runs apart where the engine lets
# it.  Versions are the base's: it is pinned, and so is its release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        bubblewrap ca-certificates git python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
# `ratchet` runs the harness.  Its group reads what candidates may not; they run
# as a user without a name.  Ubuntu's own user has the same number.
RUN if id ubuntu >/dev/null 2>&1; then userdel --remove ubuntu; fi \
    && groupadd --gid 64000 judge \
    && useradd --uid 1000 --gid judge --create-home --shell /bin/bash ratchet

# ---------------------------------------------------------------- environment
FROM system AS environment
ARG LOCK
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
WORKDIR /build
COPY envs/uv.lock envs/uv.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /uv \
    && /uv/bin/pip install --disable-pip-version-check --require-hashes -r envs/uv.lock
COPY ${LOCK} environment.lock
RUN --mount=type=cache,target=/root/.cache/uv \
    /uv/bin/uv venv --python /usr/bin/python3 /opt/venv \
    && /uv/bin/uv pip sync --require-hashes --compile-bytecode --python /opt/venv environment.lock
ARG TASKS
COPY envs envs
RUN --mount=type=cache,target=/root/.cache/uv \
    mkdir -p /opt/ratchet \
    && for name in $TASKS; do \
        place=/opt/ratchet/.venv-$name \
        && /uv/bin/uv venv --python /usr/bin/python3 "$place" \
        && /uv/bin/uv pip sync --require-hashes --python "$place" "envs/$name.lock" \
        || exit 1; \
    done
# The package itself, not editable: nothing in anybody's worktree changes the judge.
COPY pyproject.toml LICENSE README.md ./
COPY workflow_scripts/ratchet workflow_scripts/ratchet
RUN --mount=type=cache,target=/root/.cache/uv \
    /uv/bin/uv pip install --no-deps --no-build-isolation --compile-bytecode --python /opt/venv .

# ---------------------------------------------------------------- agent
# One coding agent at the version that envs/ names, with the Node.js that it needs:
# claude, codex, gemini, opencode or aider; none by default.
FROM system AS agent
ARG AGENT=
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 NODE_OPTIONS=--use-system-ca
WORKDIR /build
COPY --from=environment /uv /uv
COPY envs/node.lock envs/aider.lock envs/agents/package.json ./
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=cache,target=/root/.npm \
    mkdir -p /opt/agent \
    && case "$AGENT" in \
        "") exit 0 ;; \
        claude) package=@anthropic-ai/claude-code lock=node ;; \
        codex) package=@openai/codex lock=node ;; \
        gemini) package=@google/gemini-cli lock=node ;; \
        opencode) package=opencode-ai lock=node ;; \
        aider) package="" lock=aider ;; \
        *) echo "AGENT: expected claude, codex, gemini, opencode or aider, found $AGENT" >&2; exit 1 ;; \
    esac \
    && /uv/bin/uv venv --clear --python /usr/bin/python3 /opt/agent \
    && /uv/bin/uv pip sync --require-hashes --python /opt/agent "$lock.lock" \
    && export PATH="/opt/agent/bin:$PATH" \
    && if [ -n "$package" ]; then \
        version=$(python3 -c 'import json, sys; print(json.load(open("package.json"))["dependencies"][sys.argv[1]])' "$package") \
        && npm install --global --prefix /opt/agent --no-audit --no-fund "$package@$version"; \
    fi \
    && HOME=/tmp "$AGENT" --version

# ---------------------------------------------------------------- development
# For .devcontainer: the Makefile sets up its environments in ENVS, on a volume.
FROM system AS development
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make procps \
    && rm -rf /var/lib/apt/lists/*
USER 1000:64000
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1 LANG=C.UTF-8
RUN mkdir -p /home/ratchet/environments /home/ratchet/.cache

# ---------------------------------------------------------------- image
FROM system AS image
# Triton compiles a small launcher for every kernel: on a CUDA base a C compiler
# and the headers of libc and Python come along, elsewhere nothing that builds.
ARG COMPILER=auto
# hadolint ignore=DL3008
RUN if [ "$COMPILER" = yes ] || { [ "$COMPILER" = auto ] && [ -d /usr/local/cuda ]; }; then \
        apt-get update \
        && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev \
        && rm -rf /var/lib/apt/lists/*; \
    fi
COPY --from=environment /opt/venv /opt/venv
COPY --from=environment /opt/ratchet /opt/ratchet
COPY --from=agent /opt/agent /opt/agent
WORKDIR /opt/ratchet
COPY Snakefile ./
COPY rules rules
COPY profiles profiles
COPY config config
COPY envs envs
COPY tasks tasks
COPY workflow_scripts/*.py workflow_scripts/
ARG BASE_IMAGE
ARG BASE_DIGEST
ARG LOCK
ARG REVISION=unknown
# What the image holds, for the manifest and for runs that are sent to it; packages
# that tasks hide are the harness's alone.  Results, store and Snakemake's notes are
# links to the volume, so that the rest may be read-only.
RUN /opt/venv/bin/python -P profiles/kubernetes/enable.py \
    && /opt/venv/bin/python -P -m ratchet.runs.sandbox.container --base "${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}}" \
        --revision "$REVISION" --group judge --output image.json tasks/*/task.yaml \
    && ln -s "$(/opt/venv/bin/python -P -c 'import ratchet.runs.sandbox.container_init; print(ratchet.runs.sandbox.container_init.__file__)')" cell.py \
    && install -d -o ratchet -g judge /data /exchange \
    && for name in results store .snakemake; do \
        install -d -o ratchet -g judge "/data/$name" && ln -s "/data/$name" "$name"; \
    done
ENV PATH=/opt/venv/bin:$PATH:/opt/agent/bin \
    LANG=C.UTF-8 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    PYTHONHASHSEED=0 \
    PYTHONDONTWRITEBYTECODE=1
LABEL org.opencontainers.image.title="ratchet" \
      org.opencontainers.image.description="Reproducible autoresearch: every edit gets the same budget, one metric decides, and only real improvements are kept" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"
# ratchet, group judge
USER 1000:64000
# No health check: a session is a task with an end, not a service.  It resumes when
# it is started again, and its journal says how far it is.
CMD ["snakemake", "--cores", "1"]
