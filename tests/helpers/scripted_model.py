"""A service that stands for Anthropic's model: it calls tools by a script."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Model(ThreadingHTTPServer):
    """Speaks Anthropic's Messages; calls each of ``script``'s tools, then says that it is done.

    ``asked`` has the bodies of all requests, ``offered`` the names of the tools that came with
    them, ``results`` what the called ones gave back, as JSON.
    """

    daemon_threads = True

    def __init__(self, script: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script
        self.asked: list[Mapping[str, Any]] = []
        self.offered: set[str] = set()
        self.results: list[str] = []
        self.calls: list[str] = []

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Next block of the answer."""
        self.asked.append(body)
        offered = {tool["name"] for tool in body.get("tools", ())}
        blocks = [
            b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]
        ]
        results = [b for b in blocks if b["type"] == "tool_result"]
        self.results = [json.dumps(b["content"]) for b in results if b["tool_use_id"] in self.calls]
        step = len(self.results)
        if step == len(self.script):
            return {"type": "text", "text": "Done."}
        name, arguments = self.script[step]
        if name not in offered:
            if WAIT not in offered:
                return {"type": "text", "text": "A title"}
            return _call(f"wait_{len(results)}", WAIT, {})
        self.offered |= offered
        self.calls.append(f"toolu_{step}")
        return _call(self.calls[-1], name, arguments)


WAIT = "WaitForMcpServers"
"""claude's own tool, offered while a server is still starting."""


def _call(identity: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": identity, "name": name, "input": dict(arguments)}


class Handler(BaseHTTPRequestHandler):
    """One request to the scripted model."""

    server: Model

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._send("text/plain", "")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "messages/count_tokens" in self.path:
            self._send("application/json", json.dumps({"input_tokens": 100}))
            return
        block = self.server.answer(body)
        reason = "tool_use" if block["type"] == "tool_use" else "end_turn"
        usage = {"input_tokens": 100, "output_tokens": 10}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted"}
        message |= {"stop_sequence": None, "usage": usage}
        if not body.get("stream"):
            whole = {**message, "content": [block], "stop_reason": reason}
            self._send("application/json", json.dumps(whole))
            return
        if reason == "tool_use":
            text = json.dumps(block["input"])
            delta = {"type": "input_json_delta", "partial_json": text}
            start = {**block, "input": {}}
        else:
            delta = {"type": "text_delta", "text": block["text"]}
            start = {"type": "text", "text": ""}
        events = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage},
            {"type": "message_stop"},
        ]
        lines = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]
        self._send("text/event-stream", "".join(lines))

    def _send(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


@contextlib.contextmanager
def serving(script: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> Iterator[Model]:
    """A model that answers while the context lasts."""
    with Model(script) as model:
        threading.Thread(target=model.serve_forever, daemon=True).start()
        yield model
        model.shutdown()


def variables(model: Model) -> dict[str, str]:
    """Environment in which claude asks this model, and nothing outside of this machine."""
    return {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{model.server_port}",
        "ANTHROPIC_API_KEY": "k",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "NO_PROXY": "127.0.0.1",
    }
