"""Snakemake with a stand-in for Kubernetes: a job's command runs here, as a process.

    python pods.py RECORDS SNAKEMAKE-ARGUMENTS...

What the executor asked to be created is written to RECORDS, one JSON object per job.
The cluster is one in trouble: the first job is not taken, the second is evicted and gone
with its pod, the third is killed, and now and then no answer comes.
Environment: the one of envs/kubernetes.lock.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import kubernetes
from kubernetes.client.exceptions import ApiException
from snakemake.cli import main
from urllib3.exceptions import ProtocolError

RECORDS = Path(sys.argv[1])
PROCESSES: dict[str, subprocess.Popen[bytes]] = {}
GONE: set[str] = set()
CREATED, READ, LISTED = itertools.count(1), itertools.count(1), itertools.count(1)
EVICTED, KILLED = 2, 3
DOOMED: dict[str, int] = {}


def strict(body: Any, kind: str) -> Any:
    """An object as the interface gets it; it must be all of the published model's fields."""
    client = kubernetes.client.ApiClient()
    plain = client.sanitize_for_serialization(body)
    again = client.deserialize(SimpleNamespace(data=json.dumps(plain)), kind)
    assert client.sanitize_for_serialization(again) == plain, "a field that the model lacks"
    return plain


def end(name: str) -> None:
    """Kill a pod, as the node it is on does."""
    process = PROCESSES[name]
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Core:
    """Secrets and pods."""

    def create_namespaced_secret(self, namespace: str, secret: Any) -> None:
        strict(secret, "V1Secret")

    def delete_namespaced_secret(self, name: str, namespace: str, body: Any) -> None:
        strict(body, "V1DeleteOptions")

    def list_namespaced_pod(self, namespace: str, label_selector: str) -> Any:
        name = label_selector.removeprefix("job-name=")
        if next(LISTED) == 5:
            raise ProtocolError("connection aborted")
        if name in GONE:
            return SimpleNamespace(items=[])
        code = PROCESSES[name].poll()
        ended = None if code is None else SimpleNamespace(exit_code=code)
        state = SimpleNamespace(name="snakemake", state=SimpleNamespace(terminated=ended))
        status = SimpleNamespace(container_statuses=[state])
        return SimpleNamespace(
            items=[SimpleNamespace(metadata=SimpleNamespace(name=name), status=status)]
        )

    def read_namespaced_pod_log(
        self, name: str, namespace: str, container: str, **more: Any
    ) -> str:
        if more.get("previous"):
            raise ApiException(400, f"previous terminated container {container} not found")
        return "it said nothing"

    def delete_namespaced_pod(self, name: str, namespace: str, body: Any) -> None:
        end(name)


class Batch:
    """Jobs, each a process in the folder that its container names."""

    def create_namespaced_job(self, namespace: str, body: Any) -> Any:
        number = next(CREATED)
        if number == 1:
            raise ApiException(500, "etcdserver: request timed out")
        plain = strict(body, "V1Job")
        with RECORDS.open("a") as records:
            records.write(json.dumps(plain) + "\n")
        (container,) = body.spec.template.spec.containers
        name = body.metadata.name
        PROCESSES[name] = subprocess.Popen(
            [*container.command, *container.args],
            cwd=container.working_dir,
            start_new_session=True,
        )
        DOOMED[name] = number
        return body

    def read_namespaced_job_status(self, name: str, namespace: str) -> Any:
        if next(READ) % 5 == 0:
            raise ApiException(503, "the server is currently unable to handle the request")
        if DOOMED[name] in (EVICTED, KILLED):
            end(name)
        if DOOMED[name] == EVICTED:
            GONE.add(name)
        if name in GONE:
            raise ApiException(404, f"jobs.batch {name} not found")
        code = PROCESSES[name].poll()
        failed = int(code is not None and code != 0)
        return SimpleNamespace(status=SimpleNamespace(failed=failed, succeeded=int(code == 0)))

    def delete_namespaced_job(self, name: str, namespace: str, **_: Any) -> None:
        PROCESSES[name].wait()
        GONE.add(name)


with (
    mock.patch("kubernetes.config.load_kube_config"),
    mock.patch("kubernetes.client.CoreV1Api", Core),
    mock.patch("kubernetes.client.BatchV1Api", Batch),
):
    main(sys.argv[2:])
