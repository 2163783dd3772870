"""A Hugging Face hub on 127.0.0.1, as far as a download needs one, with the troubles that a real one has.

It speaks the hub's protocol as huggingface_hub uses it: `/api/datasets/{repo}/revision/{rev}` for the commit and the files (and
`/tree/{rev}` where that leaves the files out), HEAD and GET of `/datasets/{repo}/resolve/{rev}/{path}` with ETag, X-Repo-Commit,
X-Linked-Size and X-Linked-Etag, byte ranges, redirects to a storage
host, and the X-Error-Code headers. Every request is kept in `requests`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repo:
    """A data set repository.

    Attributes:
        files: path → bytes; what is in `lfs` has a sha256, is redirected to the storage host, and the rest a git blob id.
        lfs: paths kept in LFS.
        listed: paths that the listing names instead of `files`.
        gated: needs a token.
        bare: the listing gives neither sizes nor hashes.
        tree: the files are listed under /tree/ only.
    """

    files: dict[str, bytes]
    lfs: set[str] = field(default_factory=set)
    listed: list[str] | None = None
    gated: bool = False
    bare: bool = False
    tree: bool = False


@dataclass
class Request:
    """One request that came in."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


class HubServer(ThreadingHTTPServer):
    """The hub, and under /storage/ its storage host.

    Attributes:
        repos: name → repository.
        break_after: path → bytes, after which the connection of a GET of that file breaks; used up by one GET unless `break_always`.
        stall_after: path → bytes, after which nothing more comes.
        statuses: answers, one after another, to file requests, instead of the true one: (status, headers).
        silent: answers nothing at all.
        ignore_ranges: answers 200 and the whole file to a request for a part.
        corrupt: sends other bytes than it lists, of the same number.
        html: answers everything with a login page.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, Repo] = {}
        self.requests: list[Request] = []
        self.break_after: dict[str, int] = {}
        self.break_always = False
        self.stall_after: dict[str, int] = {}
        self.statuses: list[tuple[int, dict[str, str]]] = []
        self.silent = False
        self.ignore_ranges = False
        self.corrupt = False
        self.html = False
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def sent(self, method: str, part: str = "") -> list[Request]:
        """The requests of a method whose path contains `part`."""
        return [r for r in self.requests if r.method == method and part in r.path]


@contextmanager
def serving() -> Iterator[HubServer]:
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()


def blob_id(content: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server
        path = unquote(urlsplit(self.path).path)
        hub.requests.append(Request(self.command, path, urlsplit(self.path).query, {k.lower(): v for k, v in self.headers.items()}))
        if hub.silent:
            hub.closing.wait(5)
            self.close_connection = True
            return
        if hub.html:
            self._send(200, b"<html>log in</html>", {"Content-Type": "text/html"})
            return
        if path.startswith("/api/datasets/"):
            part = "/tree/" if "/tree/" in path else "/revision/"
            repo, _, revision = path.removeprefix("/api/datasets/").partition(part)
            self._listing(repo, revision, tree=part == "/tree/")
            return
        kind = "/storage/" if path.startswith("/storage/") else "/datasets/"
        repo, _, rest = path.removeprefix(kind).partition("/resolve/")
        revision, _, file = rest.partition("/")
        self._file(repo, revision, file, storage=kind == "/storage/")

    def _refused(self, repo: str, revision: str) -> bool:
        found = self.server.repos.get(repo)
        token = self.headers.get("Authorization", "")
        if token == "Bearer hf_wrong":
            self._send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif found is None:
            self._send(401 if not token else 404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        elif found.gated and token != "Bearer hf_right":
            self._send(401 if not token else 403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        elif revision not in ("main", COMMIT):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {revision}"})
        else:
            return False
        return True

    def _listing(self, name: str, revision: str, *, tree: bool) -> None:
        if self._refused(name, revision):
            return
        repo = self.server.repos[name]
        siblings = []
        for path in repo.listed if repo.listed is not None else repo.files:
            content = repo.files.get(path, b"gone")
            entry: dict[str, Any] = {"rfilename": path}
            if not repo.bare:
                entry |= {"size": len(content), "blobId": blob_id(content)}
                if path in repo.lfs:
                    entry["lfs"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 130}
            siblings.append(entry)
        if tree:
            entries = [
                {"type": "file", "path": s["rfilename"], "size": s["size"], "oid": s["blobId"]}
                | ({"lfs": {**s["lfs"], "oid": s["lfs"]["sha256"]}} if "lfs" in s else {})
                for s in siblings
            ]
            self._send(200, json.dumps([{"type": "directory", "path": "data", "oid": "0" * 40}, *entries]).encode(), {})
            return
        body = {
            "id": name,
            "sha": COMMIT,
            "private": False,
            "gated": repo.gated,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "siblings": siblings,
        }
        if repo.tree or "expand=sha" in self.path:
            del body["siblings"]
        self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, revision: str, path: str, *, storage: bool) -> None:
        hub = self.server
        if not storage and self._refused(name, revision):
            return
        if hub.statuses:
            status, headers = hub.statuses.pop(0)
            self._send(status, b"", headers)
            return
        repo = hub.repos[name]
        if path not in repo.files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return
        content = repo.files[path]
        headers = {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes", "ETag": f'"{blob_id(content)}"'}
        if path in repo.lfs and not storage:
            headers |= {
                "X-Linked-Size": str(len(content)),
                "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                # another host name for the same server: a token must not go there
                "Location": f"http://localhost:{hub.server_address[1]}/storage/{name}/resolve/{revision}/{path}",
            }
            self._send(302, b"", headers)
            return
        if hub.corrupt:
            content = bytes(len(content))
        start = 0
        status = 200
        asked = self.headers.get("Range")
        if asked and not hub.ignore_ranges:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(content):
                self._send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(status, content[start:], headers, path)

    def _send(self, status: int, body: bytes, headers: dict[str, str], path: str = "") -> None:
        hub = self.server
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if path in hub.break_after:
            self.wfile.write(body[: hub.break_after[path]])
            if not hub.break_always:
                del hub.break_after[path]
            self.close_connection = True
        elif path in hub.stall_after:
            self.wfile.write(body[: hub.stall_after[path]])
            hub.closing.wait(30)
            self.close_connection = True
        else:
            self.wfile.write(body)
