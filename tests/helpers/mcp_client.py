"""Calls of Ratchet's tools by the client of the Model Context Protocol's own package.

That package is imported where it is used: it takes a second, which workers without
such a test need not pay.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from helpers.boxes import DEFAULTS, Box
from helpers.player import inside

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult

T = TypeVar("T")


def settings(box: Box, **changes: object) -> list[str]:
    """Settings of a box as ``KEY=VALUE``."""
    values = {**DEFAULTS, **box.settings, **changes}
    return [f"{key}={'null' if value is None else value}" for key, value in values.items()]


def in_process(box: Box, work: Callable[[Client], Awaitable[T]], **changes: object) -> T:
    """What some work with a client gives, whose server is in this process."""
    from mcp import Client

    from ratchet.cli.mcp import Place, make_server

    async def serve() -> T:
        async with Client(make_server(Place(settings(box, **changes)))) as client:
            return await work(client)

    with inside(box.path, {**box.environment, "RATCHET_HARNESS": str(box.harness)}):
        return anyio.run(serve)


def by_stdio(box: Box, work: Callable[[Client], Awaitable[T]], **changes: object) -> T:
    """What some work with a client gives, whose server is a process of its own."""
    from mcp import Client, StdioServerParameters

    words = ["-m", "ratchet.cli.main", "mcp", "--config", *settings(box, **changes)]
    environment = {**box.environment, "RATCHET_HARNESS": str(box.harness)}
    server = StdioServerParameters(
        command=sys.executable, args=words, env=environment, cwd=box.path
    )

    async def serve() -> T:
        async with Client(server) as client:
            return await work(client)

    return anyio.run(serve)


def call(box: Box, tool: str, **arguments: Any) -> CallToolResult:
    """The result of one call, in this process."""
    return in_process(box, lambda client: client.call_tool(tool, arguments))


def facts(result: CallToolResult) -> dict[str, Any]:
    """Structured content of a call that went well."""
    assert not result.is_error, said(result)
    assert result.structured_content is not None
    return result.structured_content


def said(result: CallToolResult) -> str:
    """Text of a result."""
    return "\n".join(block.text for block in result.content)  # type: ignore[union-attr]


def quarantine() -> str:
    """The first line of all results with words of candidates."""
    from ratchet.cli.mcp import QUARANTINE

    return QUARANTINE
