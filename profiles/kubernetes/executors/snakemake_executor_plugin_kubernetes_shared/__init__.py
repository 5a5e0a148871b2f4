"""Snakemake's Kubernetes executor for pods that share a volume, and that may do little.

The released executor assumes that nothing is shared: it sends sources and results
through a storage provider.  Results and store of a session lie on a persistent volume
that the head and all jobs have at one path, so nothing needs to be sent.  And what runs
in these pods is code that is not trusted: they run as the image's own user, cannot
become root, and get no token of the cluster.

All else is the released executor's.  This folder is on the path of the environment of
envs/kubernetes.lock alone, since Snakemake imports every executor that it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes.client as api
import snakemake_executor_plugin_kubernetes as released
from snakemake_interface_common.exceptions import WorkflowError

USER, GROUP = 1000, 64000
"""As the image's Dockerfile names them."""

ExecutorSettings = released.ExecutorSettings

common_settings = replace(
    released.common_settings,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
)


class Batch:
    """The API for jobs, which creates them with less power, where the head works."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def create_namespaced_job(self, namespace: str, body: Any) -> Any:
        return self._batch.create_namespaced_job(namespace, restrict(body, str(Path.cwd())))


def restrict(job: Any, workdir: str) -> Any:
    """A job of the released executor, its pod restricted; ``workdir`` is the head's."""
    pod = job.spec.template.spec
    pod.automount_service_account_token = False
    pod.security_context = api.V1PodSecurityContext(
        run_as_non_root=True,
        run_as_user=USER,
        run_as_group=GROUP,
        # So that the volume can be written to.
        fs_group=GROUP,
        seccomp_profile=api.V1SeccompProfile(type="RuntimeDefault"),
    )
    for container in pod.containers:
        container.working_dir = workdir
        container.security_context = api.V1SecurityContext(
            allow_privilege_escalation=False,
            capabilities=api.V1Capabilities(drop=["ALL"]),
        )
    return job


class Executor(released.Executor):
    """The released executor, its jobs restricted."""

    def __post_init__(self) -> None:
        if self.workflow.executor_settings.privileged:
            raise WorkflowError(
                "kubernetes-shared-privileged cannot be used: what runs in the pods is not trusted"
            )
        super().__post_init__()
        self.batchapi = Batch(self.batchapi)

    def _reauthenticate_and_retry(self, func: Callable[[], Any] | None = None) -> Any:
        # It makes its clients anew; `func` looks them up when it is called.
        super()._reauthenticate_and_retry()
        self.batchapi = Batch(self.batchapi)
        return func() if func else None
