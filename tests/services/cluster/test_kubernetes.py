"""The Kubernetes profile: a session whose pods a stand-in runs, and what the pods may do."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from helpers import HELPERS, REPO
from helpers.boxes import DEFAULTS, Box, make_box
from helpers.commands import printed, snakemake_of

PROFILE = ["--profile", str(REPO / "profiles/kubernetes")]
SETTINGS = {"rounds": 1, "baseline_replicates": 2, "confirm_replicates": 1, "max_replicates": 1}


def gpu_box(path: Path) -> Box:
    """Its task asks for a GPU; where there is none it goes on without."""
    box = make_box(path, **SETTINGS)
    definition = box.path / "tasks/fake/task.yaml"
    definition.write_text(definition.read_text() + "device: gpu\nlimits: {memory_mb: 3000}\n")
    box.environment["CUDA_VISIBLE_DEVICES"] = ""
    return box


def said(box: Box, *command: str) -> str:
    """What Snakemake says of a box under the profile, called by a command."""
    values = {**DEFAULTS, **box.settings}
    words = ["-s", str(REPO / "Snakefile"), *PROFILE, "--config"]
    words += [f"{key}={value}" for key, value in values.items()]
    environment = {**os.environ, **box.environment}
    return printed([*command, *words], cwd=box.path, env=environment)


@pytest.fixture(scope="module")
def snakemake() -> str:
    return snakemake_of("RATCHET_KUBERNETES_VENV", "env-kubernetes")


@pytest.fixture(scope="module")
def session(snakemake: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Box, list[dict]]:
    """A session on the stand-in, and the jobs that it asked for."""
    folder = tmp_path_factory.mktemp("kubernetes")
    box, records = gpu_box(folder / "box"), folder / "jobs"
    python = str(Path(snakemake).with_name("python"))
    seconds = ("--seconds-between-status-checks", "1", "--latency-wait", "5")
    said(box, python, str(HELPERS / "pods.py"), str(records), *seconds)
    return box, [json.loads(line) for line in records.read_text().splitlines()]


def test_a_dry_run_passes(snakemake: str, tmp_path: Path) -> None:
    box = gpu_box(tmp_path / "box")
    assert "This was a dry-run" in said(box, snakemake, "-n")
    assert not (box.path / "results").exists()


def test_the_session_equals_the_local_one(session: tuple[Box, list[dict]]) -> None:
    box, jobs = session
    here = gpu_box(box.path.parent / "here")
    here.play(last="confirm")
    assert box.state() == here.state()
    # The data, two replicates, an experiment, and a pair if there is a champion; two of
    # them again, whose pods were lost.
    assert len(jobs) == 4 + bool(box.json("confirm.json")["champion"]) + 2
    finished = Counter(event["key"] for event in box.events("run_finished"))
    assert max(finished.values()) == 1, "a finished run was repeated"
    assert not box.events("failed"), "what the cluster did is no failure of the session's"


def test_pods_are_nobody_and_have_limits(session: tuple[Box, list[dict]]) -> None:
    box, jobs = session
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 64000,
            "fsGroup": 64000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert pod["automountServiceAccountToken"] is False
        assert pod["restartPolicy"] == "Never"
        (container,) = pod["containers"]
        assert container["image"] == "ratchet:0.1.0"
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        limits, requests = container["resources"]["limits"], container["resources"]["requests"]
        assert limits["nvidia.com/gpu"] == requests["nvidia.com/gpu"] == "1"
        assert limits["memory"] == requests["memory"] == "4000M"
        assert limits["cpu"] == "1000m"
        assert {"name": "ratchet", "mountPath": "/data"} in container["volumeMounts"]
        claim = {"name": "ratchet", "persistentVolumeClaim": {"claimName": "ratchet"}}
        assert claim in pod["volumes"]
        assert container["workingDir"] == str(box.path)
        # Nothing is fetched, and no file is sent, before the step begins.
        assert "pip install" not in container["args"][1]
        assert "--deploy-sources" not in container["args"][1]


def test_the_images_user_is_the_pods() -> None:
    """What the executor names is what the Dockerfile made."""
    (plugin,) = (REPO / "profiles/kubernetes/executors").glob("*/__init__.py")
    assert "USER, GROUP = 1000, 64000" in plugin.read_text()
    assert "USER 1000:64000" in (REPO / "Dockerfile").read_text()
