"""What ``ratchet doctor`` finds on a machine without faults."""

from __future__ import annotations

from ratchet.doctor import Gpu, Lock, Machine, Tool

GOOD = Machine(
    python=(3, 11, 7),
    executable="/env/bin/python",
    root="/work",
    tools={"git": Tool("2.39.5"), "snakemake": Tool("9.27.1"), "uv": Tool("0.9")},
    disk={"results and store": 78.9},
    writable=True,
    locks=(Lock("envs/workflow.lock", "a" * 64),),
    gpus=(Gpu("NVIDIA H200", 150.8, 0.5),),
    driver="550.1",
    cuda="12.4",
    containers={"docker": Tool("28.1"), "podman": Tool(None)},
    faults={"none": None, "landlock": None, "bubblewrap": None},
    agents={"claude": Tool("1.0"), "codex": Tool(None)},
    task="gpt",
    device="gpu",
    preset="large",
    prepared=True,
)
