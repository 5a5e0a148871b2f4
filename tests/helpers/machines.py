"""What ``ratchet doctor`` finds on a machine without faults."""

from __future__ import annotations

from ratchet.monitor.doctor import AgentTool, LockCheck, Machine
from ratchet.runs.hardware import GpuState

GOOD = Machine(
    python=(3, 11, 7),
    executable="/env/bin/python",
    root="/work",
    tools={"git": AgentTool("2.39.5"), "snakemake": AgentTool("9.27.1"), "uv": AgentTool("0.9")},
    disk={"results and store": 78.9},
    writable=True,
    locks=(LockCheck("envs/workflow.lock", "a" * 64),),
    gpus=(GpuState("NVIDIA H200", "", 150_800_000_000, 500_000_000, ()),),
    driver="550.1",
    cuda="12.4",
    containers={"docker": AgentTool("28.1"), "podman": AgentTool(None)},
    faults={"none": None, "landlock": None, "bubblewrap": None},
    agents={"claude": AgentTool("1.0"), "codex": AgentTool(None)},
    task="gpt",
    device="gpu",
    preset="large",
    prepared=True,
)
