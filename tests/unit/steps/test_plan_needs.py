"""What a training asks of a cluster."""

from __future__ import annotations

from ratchet.steps.plan import DEFAULT_MEMORY_MB, HARNESS_MEMORY_MB, Needs

GPU = Needs(device="gpu", threads=4, timeout_seconds=540.0)
CPU = Needs(device="cpu", threads=2, timeout_seconds=540.0)


def test_here_a_training_is_one_of_so_many_and_needs_no_cores() -> None:
    assert (GPU.gpus(elsewhere=False), CPU.gpus(elsewhere=False)) == (1, 1)
    assert GPU.cores(elsewhere=False) == CPU.cores(elsewhere=False) == 0


def test_elsewhere_it_asks_for_what_it_uses() -> None:
    assert (GPU.gpus(elsewhere=True), GPU.cores(elsewhere=True)) == (1, 4)
    assert (CPU.gpus(elsewhere=True), CPU.cores(elsewhere=True)) == (0, 2)


def test_time_grows_with_runs_and_attempts() -> None:
    assert CPU.minutes(0) == 5
    assert CPU.prepare_minutes(attempt=2) == 2 * CPU.prepare_minutes() > 60
    assert CPU.minutes(1) == 15
    assert CPU.minutes(3) == 35
    assert CPU.minutes(3, attempt=2) == 70


def test_memory_is_the_tasks_limit_and_room_for_the_harness() -> None:
    assert CPU.memory_mb == DEFAULT_MEMORY_MB
    assert Needs(limit_mb=3000).memory_mb == 3000 + HARNESS_MEMORY_MB
