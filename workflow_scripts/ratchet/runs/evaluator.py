"""The evaluator of one run: a trusted process that alone has the evaluation data.

Started beside the candidate, it waits without using the processor.  Candidate
and evaluator talk over a socket pair (``RATCHET_EVALUATOR_FD`` on both sides)
in whatever way the task's fixed files agree on; the evaluator tells the
supervisor, in lines of JSON on its standard output::

    {"event": "ready"}                    its data is loaded
    {"event": "asked"}                    the candidate asks to be evaluated; said before a
                                          question is sent, as its output is kept apart from then
    {"event": "result", "value": …, …}    the metric, and what else it found
    {"event": "failed", "reason": "…"}    the candidate did not keep to the protocol

What the candidate had used when it asked is measured here, not by it.
Standard library only, since the supervisor imports it.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

from ratchet.runs.process import die_with_parent

VARIABLE = "RATCHET_EVALUATOR_FD"
# To sum up and to leave, after the candidate has gone.
FINISH_SECONDS = 5.0
# Far more than the few lines that an evaluator writes.
LARGEST_ANSWER = 1 << 16
Usage = Callable[[], Mapping[str, float]]


class Evaluator:
    """The evaluator's process and what it said.

    ``order`` gives ``command``, ``folder``, ``environment`` and ``errors``, the
    file for what it writes to standard error.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        self.order = order
        self.candidates_end, self.own_end = socket.socketpair()
        self.buffer = b""
        self.taken = 0
        self.gone = False
        self.ready = False
        self.asked: Mapping[str, float] | None = None
        self.answered: Mapping[str, float] | None = None
        self.result: dict[str, Any] | None = None
        self.failed: str | None = None

    def start(self) -> None:
        """Start the evaluator; raises :class:`OSError` if that cannot be done."""
        me = os.getpid()
        with open(self.order["errors"], "wb") as errors:  # noqa: PTH123
            self.process = subprocess.Popen(
                self.order["command"],
                cwd=self.order["folder"],
                env={**self.order["environment"], VARIABLE: str(self.own_end.fileno())},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=[self.own_end.fileno()],
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(me),
            )
        self.own_end.close()
        # What one look has taken another may still believe to be there.
        os.set_blocking(self.output, False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> int:
        """Descriptor of what it says."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def read(self, usage: Usage) -> bool:
        """Take what it said; False at its end.  ``usage`` measures the candidate now."""
        try:
            data = os.read(self.output, LARGEST_ANSWER)
        except BlockingIOError:
            return True
        self.taken += len(data)
        if not data or self.taken > LARGEST_ANSWER:
            return False
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._take(json.loads(line), usage)
        return True

    def _take(self, said: dict[str, Any], usage: Usage) -> None:
        event = said.pop("event")
        if event == "ready":
            self.ready = True
        elif event == "asked" and self.asked is None:
            self.asked = dict(usage())
        elif event == "result" and self.result is None:
            self.answered, self.result = dict(usage()), said
        elif event == "failed":
            self.failed = str(said["reason"])

    def was_asked(self, usage: Usage) -> bool:
        """Whether it has said by now that the candidate asked to be evaluated."""
        if self.asked is None and not self.gone:
            self._listen(usage, 0.0)
        return self.asked is not None

    def finish(self, usage: Usage) -> dict[str, Any]:
        """End it, once the candidate is gone; what it found as JSON values."""
        self._listen(usage, 0.0)
        if self.asked is not None:
            self._listen(usage, FINISH_SECONDS)
        ended = self.process.poll() is not None
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.gone = True
        return {
            "ready": self.ready,
            "asked": self.asked,
            "answered": self.answered,
            "result": self.result,
            "failed": self.failed,
            "exit_code": self.process.returncode if ended else None,
        }

    def _listen(self, usage: Usage, seconds: float) -> None:
        """Take what it says within a time; 0 for what it has said."""
        limit = time.monotonic() + seconds
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.output, selectors.EVENT_READ)
            while waiting.select(max(0.0, limit - time.monotonic())):
                if not self.read(usage):
                    self.gone = True
                    break
