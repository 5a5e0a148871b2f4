"""Snakemake's Kubernetes executor for pods that share a volume, and that may do little.

The released executor assumes that nothing is shared: it sends sources and results
through a storage provider.  Results and store of a session lie on a persistent volume
that the head and all jobs have at one path, so nothing needs to be sent.  And what runs
in these pods is code that is not trusted: they run as the image's own user, cannot
become root, and get no token of the cluster.

And the released executor ends the session, or waits for ever, where the cluster does
what clusters do: its interface does not answer for a moment, a node is lost with its
pod, a pod's token has run out.  Here a job goes on while nothing is known of it, and one
that is gone is sent again.

All else is the released executor's.  This folder is on the path of the environment of
envs/kubernetes.lock alone, since Snakemake imports every executor that it finds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes.client as api
import snakemake_executor_plugin_kubernetes as released
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_config
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from urllib3.exceptions import HTTPError

USER, GROUP = 1000, 64000
"""As the image's Dockerfile names them."""

NOT_FOUND = 404

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

    def read_namespaced_job_status(self, name: str, namespace: str) -> Any:
        """The job, or ``None`` if there is none: to the executor it has failed then."""
        try:
            return self._batch.read_namespaced_job_status(name, namespace)
        except ApiException as error:
            if error.status == NOT_FOUND:
                return None
            raise


class Core:
    """The API for pods and secrets, for which a log that is gone is no failure."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)

    def read_namespaced_pod_log(self, name: str, namespace: str, container: str, **_: Any) -> str:
        """The log of a pod, which is never restarted, so that none is of a ``previous`` one."""
        try:
            found = self._core.read_namespaced_pod_log(name, namespace, container=container)
        except ApiException as error:
            return f"no log: {error.reason}"
        return str(found)


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
        self._settled = False
        super().__post_init__()
        self._restrain()

    def _restrain(self) -> None:
        self.batchapi, self.kubeapi = Batch(self.batchapi), Core(self.kubeapi)

    def run_job(self, job: Any) -> None:
        """Ask for a job; one that is not taken has failed, and is sent again."""
        try:
            super().run_job(job)
        except WorkflowError as error:
            self.report_job_error(SubmittedJobInfo(job), msg=f"{error} ")

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Yield the jobs that go on, and those of which nothing could be heard."""
        for job in active_jobs:
            self._settled = False
            try:
                async for left in super().check_active_jobs([job]):
                    yield left
                    self._settled = True
            except (WorkflowError, ApiException, HTTPError) as error:
                self.logger.warning(f"Kubernetes was asked for {job.external_jobid}: {error}")
            if not self._settled:
                yield job

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        self._settled = True
        super().report_job_success(job_info)

    def report_job_error(
        self, job_info: SubmittedJobInfo, msg: str | None = None, **more: Any
    ) -> None:
        self._settled = True
        super().report_job_error(job_info, msg, **more)

    def _reauthenticate_and_retry(self, func: Callable[[], Any] | None = None) -> Any:
        """Read the token again, in a pod too, where there is neither kubectl nor its file."""
        load_config()
        self.kubeapi, self.batchapi = api.CoreV1Api(), api.BatchV1Api()
        self._restrain()
        # `func` looks them up when it is called.
        return func() if func else None
