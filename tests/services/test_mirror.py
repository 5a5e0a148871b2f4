"""A mirror in object storage, by the package that reaches it, against a server that speaks S3.

``RATCHET_MIRROR`` names the interpreter of an environment that has the package.
"""

import http.server
import os
import re
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from helpers import REPO
from helpers.boxes import Box, make_box
from helpers.recorded import play_fake

PYTHON = os.environ.get("RATCHET_MIRROR", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="RATCHET_MIRROR names no Python: make env-mirror"),
]


class Bucket(http.server.BaseHTTPRequestHandler):
    """Objects in memory behind the five calls that a mirror makes."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    def log_message(self, *_: Any) -> None: ...

    def answer(self, status: int, data: bytes = b"", kind: str = "application/xml") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def key(self) -> str:
        return urllib.parse.unquote(self.path.partition("?")[0]).removeprefix("/bucket/")

    def do_PUT(self) -> None:
        self.objects[self.key] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200)

    def do_GET(self) -> None:
        asked = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        if "list-type" in asked:
            self.answer(200, self.listing(asked.get("prefix", ""), "delimiter" in asked))
        elif self.key in self.objects:
            self.answer(200, self.objects[self.key], "application/octet-stream")
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_HEAD(self) -> None:
        self.do_GET()

    def listing(self, prefix: str, folders: bool) -> bytes:
        names = [name for name in sorted(self.objects) if name.startswith(prefix)]
        below = {prefix + n[len(prefix) :].split("/")[0] + "/" for n in names if folders}
        items = "".join(f"<CommonPrefixes><Prefix>{p}</Prefix></CommonPrefixes>" for p in below)
        for name in () if folders else names:
            items += (
                f"<Contents><Key>{escape(name)}</Key><Size>{len(self.objects[name])}</Size>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>1</ETag></Contents>"
            )
        head = f"<Name>bucket</Name><Prefix>{prefix}</Prefix><IsTruncated>false</IsTruncated>"
        return f"<ListBucketResult>{head}{items}</ListBucketResult>".encode()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        gone = re.findall(r"<Key>(.*?)</Key>", body)
        for name in gone:
            self.objects.pop(name.removeprefix("/bucket/"), None)
        said = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in gone)
        self.answer(200, f"<DeleteResult>{said}</DeleteResult>".encode())


@pytest.fixture
def storage() -> Iterator[tuple[type[Bucket], dict[str, str]]]:
    """A bucket, and the variables by which it is reached."""
    kind = type("Own", (Bucket,), {"objects": {}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        login = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "no-one-knows-9f2c"}
        place = f"http://127.0.0.1:{server.server_port}"
        where = {"AWS_ENDPOINT_URL": place, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
        yield kind, {**os.environ, **login, **where}
        server.shutdown()


def ratchet(folder: Path, variables: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [PYTHON, "-m", "ratchet.cli.main", *words],
        cwd=folder,
        env={**variables, "RATCHET_HARNESS": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_session_goes_to_object_storage_and_back(storage: Any, tmp_path: Path) -> None:
    bucket, variables = storage
    box: Box = play_fake(make_box(tmp_path / "box", task="tasks/fake", rounds=3))
    address = "s3://bucket/some/where"
    assert "sent" in ratchet(box.path, variables, "mirror", "default", "--to", address)
    assert all(name.startswith("some/where/") for name in bucket.objects)
    assert "has all of it" in ratchet(box.path, variables, "mirror", "default", "--to", address)
    before = set(bucket.objects)
    with (box.session / "results.tsv").open("a") as stream:
        stream.write("one more\n")
    ratchet(box.path, variables, "mirror", "default", "--to", address)
    # One part came, the one that it replaces went.
    assert len(before ^ set(bucket.objects)) == 2
    fresh = tmp_path / "fresh"
    shutil.copytree(box.path / "tasks", fresh / "tasks")
    said = ratchet(fresh, variables, "restore", address)
    assert f"{len(box.runs())} runs" in said
    for path in box.session.glob("**/*.json"):
        if "mirror" not in path.parts:
            assert (fresh / path.relative_to(box.path)).read_bytes() == path.read_bytes()
    # Nobody may read them who has no login.
    assert b"no-one-knows-9f2c" not in b"".join(bucket.objects.values())
