"""Edits that a coding agent tries by ``ratchet mcp``, a process of its own beside Snakemake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import pytest

from helpers.boxes import Box
from helpers.edits import change
from helpers.mcp_client import by_stdio, facts, said, settings

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult


def start(box: Box) -> Box:
    """The baseline of a session that waits for edits by hand."""
    box.settings["proposer"] = "hand"
    box.play(last="baseline")
    return box


def test_an_edit_is_tried_and_its_progress_told(box: Box) -> None:
    change(start(box), "RATE = 0.1", "RATE = 0.8")
    told: list[tuple[float, str]] = []

    async def hear(progress: float, _total: float | None, message: str | None) -> None:
        told.append((progress, message or ""))

    async def work(client: Client) -> list[CallToolResult]:
        first = await client.call_tool("try", {"message": "a larger rate"}, progress_callback=hear)
        again = await client.call_tool("try", {"message": "the same"})
        shown = await client.call_tool("show", {"number": 1})
        return [first, again, shown]

    first, again, shown = by_stdio(box, work)
    found = facts(first)
    assert found["kept"]
    assert found["ruling"]["verdict"] == "STRONG_KEEP"
    assert "| experiment 1: STRONG_KEEP" in said(first)
    assert [seconds for seconds, _ in told] == sorted(seconds for seconds, _ in told)
    assert told[0][1] == "starting"
    assert any("a larger rate" in line for _, line in told), told
    assert again.is_error
    assert "train.py is what the incumbent has already; edit it, then try" in said(again)
    assert facts(shown)["proposal"]["description"] == "a larger rate"
    assert facts(shown)["proposal"]["proposer"] == "hand"


def test_a_second_try_is_refused_and_a_cancelled_one_ends_and_goes_on(box: Box) -> None:
    change(start(box), "RATE = 0.1", "RATE = 0.8\ntime.sleep(5)")
    training = anyio.Event()

    async def work(client: Client) -> tuple[CallToolResult, CallToolResult]:
        async def give_up(scope: anyio.CancelScope) -> None:
            await anyio.to_thread.run_sync(lambda: box.wait_for(box.trainers))
            training.set()
            await anyio.sleep(0.2)
            scope.cancel()

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(give_up, scope)
                tasks.start_soon(second, client)
                await client.call_tool("try", {"message": "a larger rate"})
            assert scope.cancelled_caught
        await anyio.to_thread.run_sync(lambda: box.wait_for(lambda: not box.trainers()))
        return others[0], await finish(client)

    others: list[CallToolResult] = []

    async def second(client: Client) -> None:
        await training.wait()
        others.append(await client.call_tool("try", {"message": "another"}))

    async def finish(client: Client) -> CallToolResult:
        while True:
            result = await client.call_tool("try", {"message": "a larger rate"})
            if "another edit is being tried" not in said(result):
                return result
            await anyio.sleep(0.2)

    refused, finished = by_stdio(box, work)
    assert refused.is_error
    assert "another edit is being tried (a larger rate); wait for its verdict" in said(refused)
    assert facts(finished)["kept"]
    assert len({event["number"] for event in box.events("verdict")}) == 1


@pytest.mark.parametrize("how", ["signal", "end of input"])
def test_a_server_that_is_ended_leaves_nothing_behind(box: Box, how: str) -> None:
    change(start(box), "RATE = 0.1", "RATE = 0.8\ntime.sleep(60)")
    words = [sys.executable, "-m", "ratchet.cli.main", "mcp", "--config", *settings(box)]
    server = subprocess.Popen(
        words,
        cwd=box.path,
        env={**os.environ, "RATCHET_HARNESS": str(box.harness)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    hello = '"capabilities": {}, "clientInfo": {"name": "t", "version": "1"}'
    for line in (
        f'{{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": '
        f'{{"protocolVersion": "2025-06-18", {hello}}}}}',
        '{"jsonrpc": "2.0", "method": "notifications/initialized"}',
        '{"jsonrpc": "2.0", "id": 2, "method": "tools/call", '
        '"params": {"name": "try", "arguments": {"message": "slow"}}}',
    ):
        server.stdin.write(line.encode() + b"\n")
        server.stdin.flush()
    box.wait_for(box.trainers)
    if how == "signal":
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 128 + signal.SIGTERM
    server.communicate()
    box.wait_for(lambda: not box.processes())
