"""Drives a headless Chromium over a pipe: loads a page, clicks, types, takes pictures.

The DevTools protocol is spoken over two file descriptors, so nothing but the browser
is needed.  Clicks and keys are real input events at a place, not calls of scripts.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
TIMEOUT = 30.0
MISSING = "no Chromium on the PATH: apt-get install chromium fonts-dejavu-core"
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # It refuses to run as root otherwise; the pages are our own.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
HOSTILE = (
    "</script><script>window.owned=1</script><img src=x onerror='window.owned=2'>"
    "<svg onload=window.owned=3>\x1b[31m\x1b]0;t\x07\x00\u202egnp\u2066 {{7*7}} ${window.owned=4} "
    '\');window.owned=5;// " onmouseover=window.owned=6 x=" &lt;img src=y onerror=owned=7&gt;'
    " <a href='javascript:window.owned=8'>x</a> "
)
"""Words of a stranger that run a script wherever a page takes them for more than words."""
TANGLED = """(() => {
  const box = (e) => e.getBoundingClientRect();
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2;
  const found = [];
  for (const plot of document.querySelectorAll("[data-plot]")) {
    const edge = plot.querySelector("svg") && box(plot.querySelector("svg"));
    if (!edge?.width) continue;
    const seen = (e) => e.textContent && getComputedStyle(e).visibility !== "hidden"
      && getComputedStyle(e).opacity !== "0" && box(e).width;
    const words = [...plot.querySelectorAll("text")].filter(seen);
    const points = [...plot.querySelectorAll(".mark-symbol.role-mark path")];
    for (const [place, word] of words.entries()) {
      const at = box(word), said = `${plot.dataset.plot}: ${word.textContent}`;
      if (at.left < edge.left - 1 || at.right > edge.right + 1 || at.top < edge.top - 1
        || at.bottom > edge.bottom + 1) found.push(`${said} is cut`);
      for (const other of words.slice(0, place))
        if (other.textContent !== word.textContent && meet(at, box(other)))
          found.push(`${said} lies on ${other.textContent}`);
      // Boxes of letters are higher than what is drawn of them.
      const low = { left: at.left, right: at.right, top: at.top + 3, bottom: at.bottom - 3 };
      if (word.closest('[class*="named_"]') && points.some((point) => meet(low, box(point))))
        found.push(`${said} lies on a point`);
    }
  }
  return [...new Set(found)];
})()"""
"""Words of figures that are cut or lie on others, and names that lie on points."""

DRAWN = (
    "[...document.querySelectorAll('[data-plot]')]"
    ".every(e => e.closest('details:not([open])') || e.matches('.drawn'))"
)
"""Whether every figure that is not folded away is drawn."""

KEYS = {"Enter": (13, "\r"), " ": (32, " ")}


def found() -> str | None:
    """Path of a Chromium, if one is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class PageError(Exception):
    """A script that was evaluated in the page failed, or the browser is gone."""


class Browser:
    """One Chromium with one page.

    ``problems`` are console messages of level warning or error, exceptions and log
    entries; ``requests`` are the addresses of everything that the page asked for.
    """

    def __init__(self, profile: Path) -> None:
        binary = found()
        assert binary is not None
        to_read, self._to_write = os.pipe()
        self._from, to_write = os.pipe()
        # Chromium reads its commands from descriptor 3 and answers on 4.
        script = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", binary, *OPTIONS, f"--user-data-dir={profile}"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer, self._number = b"", 0
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser, by its own way out if it still knows it."""
        self._session = None
        try:
            self.call("Browser.close")
            self._process.wait(timeout=20)
        except (PageError, OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._to_write)
        os.close(self._from)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._to_write, data) :]
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)
        raise PageError(f"{method}: no answer in {TIMEOUT:g} s")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._from, 1 << 16)
            if not data:
                raise PageError("the browser has ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        method, about = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(about["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(about["exceptionDetails"])[:800])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("warning", "error"):
            self.problems.append(json.dumps(about["args"])[:800])
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("warning", "error"):
            self.problems.append(about["entry"]["text"][:800])

    def open(
        self,
        path: Path,
        width: int = 1200,
        height: int = 900,
        dark: bool = False,
        scripts: bool = True,
    ) -> None:
        """Load a file afresh, until it has run its scripts."""
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="", features=[scheme])
        uri = path.resolve().as_uri()
        self.call("Page.navigate", url="about:blank")
        self.problems.clear()
        self.requests.clear()
        self.call("Page.navigate", url=uri)
        self.until(f"location.href === {uri!r} && document.readyState === 'complete'")
        if scripts:
            self.until(DRAWN)

    def unfold(self) -> None:
        """Open every folded section, until its figures are drawn."""
        self.run("document.querySelectorAll('details.fold').forEach(e => { e.open = true; })")
        self.until(DRAWN)

    def run(self, script: str) -> Any:
        """Value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise PageError(json.dumps(found["exceptionDetails"])[:800])
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + TIMEOUT
        while not self.run(script):
            if time.monotonic() > end:
                raise PageError(f"never true: {script}; {self.problems}")
            time.sleep(0.02)

    def choose(self, name: str, choice: str) -> None:
        """Set a select ``s`` by its id, and tell the page."""
        found, change = f"document.getElementById('{name}')", "new Event('change')"
        self.run(f"(() => {{ const s = {found}; {choice}; s.dispatchEvent({change}); }})()")

    def check_calm(self) -> None:
        """Nothing was complained of or asked for but the page, and no stranger's words ran."""
        assert self.problems == []
        assert self.requests == [self.run("location.href.split('#')[0]")]
        assert self.run("typeof window.owned") == "undefined"

    def text(self, query: str) -> str:
        """Visible text of the first element that a selector finds."""
        return str(self.run(f"document.querySelector({json.dumps(query)}).innerText"))

    def point(self, query: str) -> tuple[float, float]:
        """Middle of an element, scrolled into view."""
        place = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(query)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return float(place[0]), float(place[1])

    def move(self, query: str) -> None:
        """Move the pointer onto an element."""
        x, y = self.point(query)
        self._mouse("mouseMoved", x - 3, y)
        self._mouse("mouseMoved", x, y)

    def click(self, query: str) -> None:
        """Press and release the left button on an element."""
        x, y = self.point(query)
        self._mouse("mouseMoved", x, y)
        self._mouse("mousePressed", x, y, button="left", clickCount=1)
        self._mouse("mouseReleased", x, y, button="left", clickCount=1)

    def _mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def type(self, words: str) -> None:
        """Type where the focus is."""
        self.call("Input.insertText", text=words)

    def press(self, key: str) -> None:
        """Press a key where the focus is."""
        code, words = KEYS[key]
        about = {"key": key, "windowsVirtualKeyCode": code, "code": key}
        if words:
            about["text"] = words
        self.call("Input.dispatchKeyEvent", type="keyDown", **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, path: Path) -> None:
        """Write a PNG of the window."""
        found = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def print(self) -> bytes:
        """The page as a PDF."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])
