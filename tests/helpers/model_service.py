"""A model service that is no model: it proposes what a list says, in the words of four APIs.

Coding agents talk to it as to the services of Anthropic, OpenAI (Responses and Chat) and
Google, with and without streaming.  It keeps no conversation: how many tools have answered
so far says what comes next, and the prompt says for which round.
"""

import itertools
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EDITS = (("RATE", "0.1", "0.2"), ("WIDTH", "1", "2"), ("DECAY", "0.0", "0.1"))
"""Constants of the fake task with their values before and after, one for each round."""

USED, CACHED, WRITTEN = 1000, 400, 50
"""Tokens that each answer says it took: anew, read from a cache, written."""

Json = dict[str, Any]
_numbers = itertools.count(1)


def _fresh(kind: str) -> str:
    """A name that no other message or call has: clients take equal ones for the same."""
    return f"{kind}_{next(_numbers)}"


Events = Iterator[tuple[str, Any]]


@dataclass
class Talk:
    """A request: all its text, the tools that it offers, and how many have answered."""

    text: str = ""
    tools: dict[str, Sequence[str]] = field(default_factory=dict)
    answers: int = 0


@dataclass
class Call:
    """A tool to be called with arguments."""

    tool: str
    arguments: Json


Answer = str | Call


@dataclass
class Service:
    """What the model does, and what it was asked.

    ``denied`` is the status that all requests get, or only the next ``times``; with ``hangs``
    none is answered, with ``lingers`` none after the proposal; ``outside`` is a file that it
    tries to write beforehand.
    """

    denied: int = 0
    times: int | None = None
    hangs: bool = False
    lingers: bool = False
    outside: str = ""
    requests: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def refusal(self) -> int:
        """Status that this request is refused with; 0 for none."""
        self.requests += 1
        if not self.denied or self.times == 0:
            return 0
        self.times = None if self.times is None else self.times - 1
        return self.denied

    def answer(self, talk: Talk) -> Answer:
        """Next step of the model."""
        if self.hangs:
            self.ended.wait()
        found = re.search(r"this is round\s+(\d+)", talk.text)
        if found is None:
            return "A title"
        name, old, new = EDITS[(int(found[1]) - 1) % len(EDITS)]
        said = {"description": f"{name} to {new}", "hypothesis": "the script says so"}
        note = json.dumps({**said, "category": "other", "expected_effect": "-0.01"}, indent=1)
        if "SEARCH/REPLACE" in talk.text:  # aider, which offers no tools
            # It refuses a whole answer for one file outside, and says so.
            outside = "" if "not in the subpath" in talk.text else self.outside
            return _in_words(f"{name} = {old}", f"{name} = {new}", note, outside)
        steps: list[Answer] = [_read(talk, "train.py")]
        steps += [_write(talk, self.outside, "mine\n")] if self.outside else []
        steps += [_edit(talk, name, old, new), _write(talk, "proposal.json", note)]
        if talk.answers < len(steps):
            return steps[talk.answers]
        if self.lingers:
            self.ended.wait()
        return "Done."


def _in_words(old: str, new: str, note: str, outside: str) -> str:
    """All edits in one text, as aider reads them."""
    blocks = [("train.py", f"{old}\n", new), ("proposal.json", "", note)]
    blocks += [(outside, "", "mine")] if outside else []
    return "\n".join(
        f"{name}\n```\n<<<<<<< SEARCH\n{before}=======\n{after}\n>>>>>>> REPLACE\n```"
        for name, before, after in blocks
    )


def _tool(talk: Talk, *names: str) -> str:
    return next((name for name in names if name in talk.tools), "")


def _call(talk: Talk, tool: str, **values: str) -> Call:
    """A call whose arguments have the names that the tool gives them."""
    names = {re.sub(r"[^a-z]", "", name.lower()): name for name in talk.tools[tool]}
    return Call(tool, {names[key]: value for key, value in values.items() if key in names})


def _shell(talk: Talk, command: str) -> Call:
    tool = _tool(talk, "exec_command", "shell_command")
    return _call(talk, tool, cmd=command, command=command)


def _read(talk: Talk, name: str) -> Call:
    tool = _tool(talk, "Read", "read", "read_file")
    return _call(talk, tool, filepath=name) if tool else _shell(talk, f"cat {name}")


def _write(talk: Talk, name: str, content: str) -> Call:
    tool = _tool(talk, "Write", "write", "write_file")
    if tool:
        return _call(talk, tool, filepath=name, content=content)
    return _shell(talk, f"cat > {name} <<'END'\n{content}\nEND")


def _edit(talk: Talk, name: str, old: str, new: str) -> Call:
    tool = _tool(talk, "Edit", "edit", "replace")
    if not tool:
        return _shell(talk, f"sed -i 's/^{name} = .*/{name} = {new}/' train.py")
    lines = {"oldstring": f"{name} = {old}\n", "newstring": f"{name} = {new}\n"}
    return _call(talk, tool, filepath="train.py", instruction="set it", **lines)


def _properties(schema: Any) -> Sequence[str]:
    return list((schema or {}).get("properties") or ())


class Anthropic:
    """Messages of Anthropic's API."""

    @staticmethod
    def talk(body: Json) -> Talk:
        blocks = [b for m in body["messages"] for b in m["content"] if isinstance(b, dict)]
        tools = {t["name"]: _properties(t.get("input_schema")) for t in body.get("tools") or ()}
        answers = sum(block.get("type") == "tool_result" for block in blocks)
        return Talk(json.dumps(body["messages"]), tools, answers)

    @staticmethod
    def whole(answer: Answer) -> Json:
        block: Json = {"type": "text", "text": answer}
        if isinstance(answer, Call):
            block = {"type": "tool_use", "id": _fresh("toolu"), "name": answer.tool}
            block["input"] = answer.arguments
        usage = {"input_tokens": USED, "cache_read_input_tokens": CACHED, "output_tokens": WRITTEN}
        return {
            **{
                "id": _fresh("msg"),
                "type": "message",
                "role": "assistant",
                "model": "claude-opus-4-8",
            },
            **{"content": [block], "stop_sequence": None, "usage": usage},
            "stop_reason": "tool_use" if isinstance(answer, Call) else "end_turn",
        }

    @classmethod
    def events(cls, answer: Answer) -> Events:
        message = cls.whole(answer)
        block, begun = message["content"][0], {**message, "content": [], "stop_reason": None}
        empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": answer}
        if isinstance(answer, Call):
            empty = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(answer.arguments)}
        end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
        for kind, facts in (
            ("message_start", {"message": begun}),
            ("content_block_start", {"index": 0, "content_block": empty}),
            ("content_block_delta", {"index": 0, "delta": delta}),
            ("content_block_stop", {"index": 0}),
            ("message_delta", {"delta": end, "usage": message["usage"]}),
            ("message_stop", {}),
        ):
            yield kind, {"type": kind, **facts}


class Responses:
    """Responses of OpenAI's API."""

    @staticmethod
    def talk(body: Json) -> Talk:
        tools = {
            t["name"]: _properties(t.get("parameters"))
            for t in body.get("tools") or ()
            if t.get("type") == "function"
        }
        outputs = [i for i in body["input"] if i.get("type") == "function_call_output"]
        return Talk(json.dumps(body["input"]), tools, len(outputs))

    @staticmethod
    def whole(answer: Answer) -> Json:
        part = {"type": "output_text", "text": answer, "annotations": []}
        item: Json = {
            "type": "message",
            "id": _fresh("msg"),
            "role": "assistant",
            "content": [part],
        }
        if isinstance(answer, Call):
            arguments = json.dumps(answer.arguments)
            item = {"type": "function_call", "id": _fresh("fc"), "call_id": _fresh("call")}
            item |= {"name": answer.tool, "arguments": arguments}
        cached = {"cached_tokens": CACHED}
        usage = {"input_tokens": USED + CACHED, "input_tokens_details": cached}
        usage |= {"output_tokens": WRITTEN, "total_tokens": USED + CACHED + WRITTEN}
        output = [{**item, "status": "completed"}]
        about = {"id": _fresh("resp"), "object": "response", "created_at": 1, "model": "scripted"}
        return {**about, "status": "completed", "output": output, "usage": usage}

    @classmethod
    def events(cls, answer: Answer) -> Events:
        response = cls.whole(answer)
        begun = {**response, "status": "in_progress", "output": [], "usage": None}
        item = response["output"][0]
        for kind, facts in (
            ("response.created", {"response": begun}),
            ("response.output_item.done", {"output_index": 0, "item": item}),
            ("response.completed", {"response": response}),
        ):
            yield kind, {"type": kind, **facts}


class Chat:
    """Chat completions of OpenAI's API."""

    @staticmethod
    def talk(body: Json) -> Talk:
        functions = [tool["function"] for tool in body.get("tools") or ()]
        tools = {f["name"]: _properties(f.get("parameters")) for f in functions}
        answers = sum(message["role"] == "tool" for message in body["messages"])
        return Talk(json.dumps(body["messages"]), tools, answers)

    @staticmethod
    def whole(answer: Answer) -> Json:
        message: Json = {"role": "assistant", "content": answer}
        if isinstance(answer, Call):
            function = {"name": answer.tool, "arguments": json.dumps(answer.arguments)}
            calls = [{"index": 0, "id": _fresh("call"), "type": "function", "function": function}]
            message = {"role": "assistant", "content": None, "tool_calls": calls}
        reason = "tool_calls" if isinstance(answer, Call) else "stop"
        usage = {"prompt_tokens": USED + CACHED, "completion_tokens": WRITTEN}
        usage |= {"total_tokens": USED + CACHED + WRITTEN}
        choice = {"index": 0, "message": message, "finish_reason": reason}
        about = {
            "id": _fresh("chat"),
            "object": "chat.completion",
            "created": 1,
            "model": "scripted",
        }
        return {**about, "choices": [choice], "usage": usage}

    @classmethod
    def events(cls, answer: Answer) -> Events:
        whole = cls.whole(answer)
        choice = whole["choices"][0]
        about = {**whole, "object": "chat.completion.chunk"}
        usage = about.pop("usage")
        said = {"index": 0, "delta": choice["message"], "finish_reason": None}
        end = {"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}
        yield "", {**about, "choices": [said]}
        yield "", {**about, "choices": [end]}
        yield "", {**about, "choices": [], "usage": usage}
        yield "", "[DONE]"


class Gemini:
    """Generated contents of Google's API."""

    @staticmethod
    def talk(body: Json) -> Talk:
        functions = [f for t in body.get("tools") or () for f in t.get("functionDeclarations", ())]
        tools = {
            f["name"]: _properties(f.get("parametersJsonSchema") or f.get("parameters"))
            for f in functions
        }
        parts = [part for content in body["contents"] for part in content["parts"]]
        answers = sum("functionResponse" in part for part in parts)
        # Without tools it asks for something else, such as how hard the task is.
        return Talk(json.dumps(parts) if tools else "", tools, answers)

    @staticmethod
    def whole(answer: Answer) -> Json:
        part: Json = {"text": answer}
        if isinstance(answer, Call):
            part = {
                "functionCall": {
                    "id": _fresh("call"),
                    "name": answer.tool,
                    "args": answer.arguments,
                }
            }
        elif answer == "A title":
            part = {"text": json.dumps({"complexity_reasoning": "so", "complexity_score": 1})}
        content = {"role": "model", "parts": [part]}
        usage = {"promptTokenCount": USED + CACHED, "cachedContentTokenCount": CACHED}
        usage |= {"candidatesTokenCount": WRITTEN, "totalTokenCount": USED + CACHED + WRITTEN}
        found = {"content": content, "finishReason": "STOP", "index": 0}
        return {"candidates": [found], "usageMetadata": usage, "modelVersion": "scripted"}

    @classmethod
    def events(cls, answer: Answer) -> Events:
        yield "", cls.whole(answer)


APIS: Mapping[str, Any] = {
    r"/messages$": Anthropic,
    r"/responses$": Responses,
    r"/chat/completions$": Chat,
    r":(?:stream)?[gG]enerateContent$": Gemini,
}


class Handler(BaseHTTPRequestHandler):
    """Answers requests by the script of the server's service."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._json({"data": [], "models": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        path, _, query = self.path.partition("?")
        api = next((api for end, api in APIS.items() if re.search(end, path)), None)
        if api is None:
            self._json({"input_tokens": USED, "totalTokens": USED})
            return
        status = self.server.service.refusal()
        if status:
            error = {"code": status, "type": "scripted", "message": f"scripted HTTP {status}"}
            self._json({"type": "error", "error": error}, status)
            return
        answer = self.server.service.answer(api.talk(body))
        try:
            if body.get("stream") or "alt=sse" in query:
                self._stream(api.events(answer))
            else:
                self._json(api.whole(answer))
        except ConnectionError:
            pass  # whoever asked was stopped

    def _json(self, value: Json, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if status == 429:
            self.send_header("retry-after", "1")
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: Events) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for name, value in events:
            data = value if isinstance(value, str) else json.dumps(value)
            head = f"event: {name}\n" if name else ""
            self.wfile.write(f"{head}data: {data}\n\n".encode())
        self.close_connection = True


class Server(ThreadingHTTPServer):
    """A model service on a free port of this machine, for nobody else."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.service = Service()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that were stopped."""
