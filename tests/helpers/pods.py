"""Snakemake with a stand-in for Kubernetes: a job's command runs here, as a process.

    python pods.py RECORDS SNAKEMAKE-ARGUMENTS...

What the executor asked to be created is written to RECORDS, one JSON object per job.
Environment: the one of envs/kubernetes.lock.
"""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import kubernetes
from snakemake.cli import main

RECORDS = Path(sys.argv[1])


class Core:
    """Secrets, and pods of which nothing is known."""

    def create_namespaced_secret(self, namespace: str, secret: Any) -> None:
        pass

    def delete_namespaced_secret(self, name: str, namespace: str, body: Any) -> None:
        pass

    def list_namespaced_pod(self, namespace: str, label_selector: str) -> Any:
        return SimpleNamespace(items=[])


class Batch:
    """Jobs, each a process in the folder that its container names."""

    def __init__(self) -> None:
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def create_namespaced_job(self, namespace: str, body: Any) -> Any:
        plain = kubernetes.client.ApiClient().sanitize_for_serialization(body)
        with RECORDS.open("a") as records:
            records.write(json.dumps(plain) + "\n")
        (container,) = body.spec.template.spec.containers
        self.started[body.metadata.name] = subprocess.Popen(
            [*container.command, *container.args], cwd=container.working_dir
        )
        return body

    def read_namespaced_job_status(self, name: str, namespace: str) -> Any:
        code = self.started[name].poll()
        failed = int(code is not None and code != 0)
        return SimpleNamespace(status=SimpleNamespace(failed=failed, succeeded=int(code == 0)))

    def delete_namespaced_job(self, name: str, namespace: str, **_: Any) -> None:
        self.started[name].wait()


with (
    mock.patch("kubernetes.config.load_kube_config"),
    mock.patch("kubernetes.client.CoreV1Api", Core),
    mock.patch("kubernetes.client.BatchV1Api", Batch),
):
    main(sys.argv[2:])
