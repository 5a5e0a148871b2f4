"""Whether a coding agent's tool works: its login, and failures that are not the model's.

A tool that does not work proposes nothing, good or bad.  Its failures are told by what it
reports itself: errors in its stream of JSON, errors in words (aider), or the last lines of
a call that ended with another status than 0.  What a model says is never looked at.
"""

import contextlib
import enum
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ratchet.base.structs import Frozen, replace
from ratchet.base.text import finite_number, one_line_label, strip_escapes
from ratchet.proposers.agent_process import (
    AGENT_TOOLS,
    AIDER_USAGE,
    CallEnding,
    agent_environment,
    json_object,
    parse_event,
)


class Failure(enum.StrEnum):
    """What keeps a tool from working."""

    LOGIN = "it is not logged in"
    REFUSED = "its service refuses it"
    CREDIT = "its account is out of credit"
    LIMITED = "its service limits the rate"
    OUTAGE = "its service is out of order"
    BROKEN = "its tool does not work"


class Fault(Frozen):
    """Failure of a tool with its own last words, which are untrusted text, cleaned and cut.

    ``retry_after`` are the seconds that it says to wait, if it says so; ``note`` says in our
    words what happened to it.
    """

    failure: Failure
    words: str = ""
    retry_after: float | None = None
    note: str = ""


WORDS_LIMIT = 200
"""Characters of a tool's own words that are shown."""

LONGEST_RETRY_SECONDS = 24 * 3600.0
"""Beyond it what a tool says of waiting is a mistake."""


def call_fault(output: str, ending: CallEnding, is_untouched: bool) -> Fault | None:
    """Fault of the tool in a call that left no proposal; ``None`` if it worked.

    ``is_untouched``: it left nothing at all.  Then another status than 0 is the tool's
    fault too, though it names none.
    """
    if ending.missing:
        return Fault(Failure.BROKEN, note=ending.missing)
    if ending.from_outside:
        return Fault(Failure.BROKEN, note=f"signal {-ending.exit_code} ended it, from outside")
    fault, is_ended = _stream_end(output)
    if fault is not None:
        return fault
    if ending.exit_code and not (ending.stopped or is_ended) and is_untouched:
        fault = _judged(_last_words(output))
        return replace(fault, note=f"it ended with status {ending.exit_code}")
    return None


def _stream_end(output: str) -> tuple[Fault | None, bool]:
    """The error that an output ends with, unless work came after it, and whether it has an end."""
    fault, is_ended, lines = None, False, output.splitlines()
    for number, line in enumerate(lines):
        event = parse_event(line)
        if event:
            is_ended = is_ended or event.get("type") in ("result", "turn.completed")
            error, is_work = _error_of(event)
            if error is not None or is_work:
                fault = error
        elif AIDER_USAGE.match(line.strip()[:400]):
            fault = None
        elif match := _GEMINI_ERROR.match(line[:400]):
            fault = _judged(match[0])
        elif match := _AIDER_ERROR.match(line.strip()[:400]):
            # It breaks long lines, with a blank one after the last.
            rest = "".join(f" {each.strip()}" for each in _until_blank(lines[number + 1 :]))
            fault = _judged(f"{match[0]}{rest}")
    return fault, is_ended


_GEMINI_ERROR = re.compile(r"Attempt \d+ failed with status \d+")
_AIDER_ERROR = re.compile(r"litellm\.\w+(?:Error|Exception)\b.*")


def _until_blank(lines: Iterable[str]) -> Iterable[str]:
    for line, _ in zip(lines, range(3), strict=False):
        if not line.strip():
            return
        yield line[:400]


def _error_of(event: Mapping[str, Any]) -> tuple[Fault | None, bool]:
    """Fault that an event of a stream tells of, if any, and whether it is work of the model."""
    kind = event.get("type")
    if kind == "result":  # claude and gemini end with it
        if str(event.get("subtype", "")).startswith("error_max_"):
            return None, True  # a limit of ours, or of the user's
        if event.get("is_error"):
            return _judged(event.get("result"), event.get("api_error_status")), False
        if event.get("status") == "error":
            return _judged(json_object(event.get("error")).get("message")), False
        return None, True
    if kind == "system" and event.get("subtype") == "api_retry":  # claude
        return _judged(event.get("error"), event.get("error_status")), False
    if kind == "turn.failed":  # codex
        return _judged(json_object(event.get("error")).get("message")), False
    if kind == "error" and "message" in event:  # codex and gemini
        is_warning = event.get("severity") == "warning"
        return (None if is_warning else _judged(event["message"])), False
    if kind == "error":  # opencode
        error = json_object(event.get("error"))
        data = json_object(error.get("data"))
        heads = json_object(data.get("responseHeaders"))
        words = data.get("message") or error.get("name")
        fault = _judged(words, data.get("statusCode"))
        after = finite_number(_number(heads.get("retry-after")))
        return (fault if after is None else _after(fault, after)), False
    if kind == "assistant" and event.get("error"):  # claude, without a login
        return None, False
    if kind in ("item.completed", "item.started"):  # codex
        return None, json_object(event.get("item")).get("type") != "error"
    return None, kind in ("assistant", "turn.completed", "step_finish", "tool_use", "tool_result")


def _number(value: Any) -> float | None:
    with contextlib.suppress(TypeError, ValueError):
        return float(value)
    return None


def _after(fault: Fault, seconds: float) -> Fault:
    return replace(fault, retry_after=min(max(seconds, 0.0), LONGEST_RETRY_SECONDS))


def _last_words(output: str) -> str:
    """The last line that is no JSON."""
    for line in reversed(output.splitlines()[-200:]):
        plain = one_line_label(strip_escapes(line), WORDS_LIMIT)
        if plain and not line.lstrip().startswith("{"):
            return plain
    return ""


_STATUS = re.compile(r"(?i)(?:status|code|error|http)\W{0,4}(?:code\W{0,3})?([45]\d\d)\b")
_RETRY = re.compile(
    r"(?i)(?:retry[- ]?after|retry ?delay|(?:try|retry) again in|retry in)\W{0,4}"
    r"(\d{1,6}(?:\.\d+)?)\s*(ms|milliseconds?|s|seconds?|m|min|minutes?|h|hours?)?\b"
)
_UNIT_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

# What is said counts in this order: a service that says when to come again limits a rate,
# whatever it calls it.  A status comes before the vaguer signs below.
_SIGNS = (
    (Failure.LIMITED, r"retry in \d|resource_exhausted|usage limit|session limit|weekly limit"),
    (Failure.CREDIT, r"credit balance|(?:out of|no|requires more) credit|billing|payment required"),
    (Failure.CREDIT, r"insufficient[_ ](?:quota|funds|balance|credit)"),
    (
        Failure.LOGIN,
        r"log(?:ged)?[ -]?in\b|auth method|no api keys? (?:was|were)|api key not found",
    ),
)
_VAGUE_SIGNS = (
    (Failure.REFUSED, r"unauthori[sz]ed|authenticat|(?:invalid|incorrect) (?:x-)?api[- _]key"),
    (Failure.REFUSED, r"forbidden|permission[_ ]denied|permissiondenied"),
    (Failure.LIMITED, r"rate[-_ ]?limit|too many requests|quota"),
    (Failure.OUTAGE, r"overloaded|high demand|server[_ ]?error|unavailable|bad gateway|capacity"),
    (Failure.OUTAGE, r"connection\b.*(?:refused|reset|error|failed|closed)|unable to connect"),
    (Failure.OUTAGE, r"cannot connect|for network|network error|timed?[- ]?out|failed to resolve"),
    (Failure.OUTAGE, r"apiconnectionerror|fetch failed|socket hang up|stream disconnected"),
)
_STATUSES = {
    401: Failure.REFUSED,
    402: Failure.CREDIT,
    403: Failure.REFUSED,
    429: Failure.LIMITED,
}


def _judged(words: Any, status: Any = None) -> Fault:
    """Fault by a tool's words and the status that its service gave, if it names one."""
    text = strip_escapes(str(words or "")[:4000])
    lower = text.lower()
    match = _STATUS.search(lower)
    code = status if isinstance(status, int) else int(match[1]) if match else 0
    failure = next((kind for kind, sign in _SIGNS if re.search(sign, lower)), None)
    if failure is None and code >= 500:
        failure = Failure.OUTAGE
    failure = failure or _STATUSES.get(code)
    if failure is None:
        signs = (kind for kind, sign in _VAGUE_SIGNS if re.search(sign, lower))
        failure = next(signs, Failure.BROKEN)
    fault = Fault(failure, one_line_label(text, WORDS_LIMIT))
    wait = _RETRY.search(lower)
    if wait is None:
        return fault
    unit = wait[2] or "s"
    factor = _UNIT_SECONDS["ms" if unit.startswith(("ms", "milli")) else unit[0]]
    return _after(fault, float(wait[1]) * factor)


class Login(enum.StrEnum):
    """Whether one is logged in, as far as it can be known for nothing."""

    YES = "logged in"
    NO = "not logged in"
    UNKNOWN = ""


LOGIN_HINTS: Mapping[str, str] = {
    "claude": "claude auth login, or set ANTHROPIC_API_KEY",
    "codex": "codex login",
    "gemini": "start gemini once and choose how to log in, or set GEMINI_API_KEY",
    "aider": "set the key of its model, such as ANTHROPIC_API_KEY or OPENAI_API_KEY",
    "opencode": "opencode auth login",
}
"""What to type, by tool."""

STATUS_SECONDS = 60.0
"""A status that takes longer is not waited for; the first start of a tool may be slow."""


def tool_login(name: str) -> tuple[Login, str]:
    """Whether one is logged in to a tool, and its own words or ours on why not.

    Nothing is asked of a model.  Only what is certain is claimed: a tool with a model
    provider of its own, or with keys in its own files, may work without a login.
    """
    look = _LOOKS.get(name)
    if look is None or shutil.which(name) is None:
        return Login.UNKNOWN, ""
    environment = agent_environment(AGENT_TOOLS[name], os.environ)
    try:
        return look(environment)
    except (OSError, ValueError, subprocess.SubprocessError):
        return Login.UNKNOWN, ""


def _status(command: list[str], environment: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=STATUS_SECONDS,
        check=False,
    )
    return done.returncode, (done.stdout + b"\n" + done.stderr).decode(errors="replace")


def _claude(environment: Mapping[str, str]) -> tuple[Login, str]:
    _, said = _status(["claude", "auth", "status"], environment)
    found = json_object(json.loads(said[said.index("{") : said.rindex("}") + 1])).get("loggedIn")
    if not isinstance(found, bool):
        return Login.UNKNOWN, ""
    return (Login.YES, "") if found else (Login.NO, "claude auth status: loggedIn is false")


def _codex(environment: Mapping[str, str]) -> tuple[Login, str]:
    home = Path(environment.get("CODEX_HOME") or _home(environment) / ".codex")
    settings = home / "config.toml"
    own = tomllib.loads(settings.read_text()) if settings.is_file() else {}
    if environment.get("CODEX_API_KEY") or {"model_provider", "profile"} & set(own):
        return Login.UNKNOWN, ""
    code, said = _status(["codex", "login", "status"], environment)
    if code == 0:
        return Login.YES, ""
    words = "codex login status: Not logged in"
    return (Login.NO, words) if "Not logged in" in said else (Login.UNKNOWN, "")


def _gemini(environment: Mapping[str, str]) -> tuple[Login, str]:
    home = Path(environment.get("GEMINI_CLI_HOME") or _home(environment))
    settings = home / ".gemini" / "settings.json"
    own = json_object(json.loads(settings.read_text())) if settings.is_file() else {}
    chosen = json_object(json_object(own.get("security")).get("auth")).get("selectedType")
    ways = "GOOGLE_GENAI_USE_VERTEXAI GOOGLE_GENAI_USE_GCA CLOUD_SHELL GEMINI_CLI_USE_COMPUTE_ADC"
    files = (home / ".gemini" / ".env", home / ".env", Path("/etc/gemini-cli/settings.json"))
    if chosen or any(map(environment.get, ways.split())) or any(map(Path.exists, files)):
        return Login.UNKNOWN, ""
    if environment.get("GOOGLE_GEMINI_BASE_URL"):
        return Login.NO, (
            "GOOGLE_GEMINI_BASE_URL is set, and gemini then needs security.auth.selectedType, "
            f'such as "gemini-api-key", in {settings}'
        )
    if environment.get("GEMINI_API_KEY"):
        return Login.YES, ""
    return Login.NO, f"neither {settings} nor GEMINI_API_KEY says how to log in"


def _aider(environment: Mapping[str, str]) -> tuple[Login, str]:
    home = _home(environment)
    names = r".*_(?:API_KEY|API_BASE|ACCESS_KEY_ID|PROFILE|CREDENTIALS)|AIDER_.*|VERTEX.*"
    if any(re.fullmatch(names, name) for name, value in environment.items() if value):
        return Login.UNKNOWN, ""
    files = (".env", ".aider.conf.yml", ".aider/oauth-keys.env", ".aider.model.settings.yml")
    if any((home / name).exists() for name in files):
        return Login.UNKNOWN, ""
    return Login.NO, "no environment variable or file of aider's names a key"


def _opencode(environment: Mapping[str, str]) -> tuple[Login, str]:
    _, said = _status(["opencode", "auth", "list"], environment)
    counts = re.findall(r"(\d+) (?:credential|environment variable)s?\b", strip_escapes(said))
    # Without any it may use a provider of its own settings, or a free one.
    return (Login.YES if any(map(int, counts)) else Login.UNKNOWN), ""


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


_LOOKS: Mapping[str, Callable[[Mapping[str, str]], tuple[Login, str]]] = {
    "claude": _claude,
    "codex": _codex,
    "gemini": _gemini,
    "aider": _aider,
    "opencode": _opencode,
}
