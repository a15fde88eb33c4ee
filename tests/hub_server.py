"""A Hub on 127.0.0.1: repositories in memory, the requests that `huggingface_hub` really sends, and faults on demand.

Standard library only. In a test:

    with HubServer() as hub:
        subprocess.run(command, env=hub.environment(tmp_path))
        assert hub.repos["user/model"].files["config.json"]
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote


USER, TOKEN = "user", "hf_localtoken"
# What of faults passes by itself is the client's: huggingface_hub goes on after a cut connection from 1.21, and waits as long as
# Retry-After says from 1.22.
_CLIENT = tuple(int(part) for part in version("huggingface_hub").split(".")[:2])
TRIES_CUTS_AGAIN, WAITS_AS_TOLD = _CLIENT >= (1, 21), _CLIENT >= (1, 22)
# The Hub keeps weights and pictures beside git; what is small and text goes into the commit.
_LARGE = re.compile(r"\.(safetensors|bin|png|pt|pth|parquet|arrow|model)$")
_MESSAGES = {
    401: "Invalid username or password.",
    403: "You don't have the rights to do this.",
    404: "Repository not found",
    409: "A conflicting change was made meanwhile.",
    429: "Too many requests.",
}


@dataclass
class Fault:
    """
    What goes wrong, and with which requests.

    Args:
        request (`str`): A pattern, searched in `"METHOD /path"`.
        status (`int`, *optional*): The answer; `None` leaves it as it is (for `seconds`).
        answer (`dict`, *optional*): What the answer says, in place of what goes with `status`.
        cut (`bool`): The connection is cut after the first bytes of the request's body are read.
        seconds (`float`): How long the answer takes.
        headers (`dict[str, str]`): Of the answer, such as `Retry-After`.
        after (`int`): So many matching requests pass before.
        times (`int`, *optional*): So many are hit then; `None`: all.
    """

    request: str
    status: int | None = None
    answer: Mapping[str, Any] | None = None
    cut: bool = False
    seconds: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 0
    times: int | None = None
    seen: int = 0

    def hits(self, line: str) -> bool:
        if not re.search(self.request, line):
            return False
        self.seen += 1
        number = self.seen - self.after
        return number >= 1 and (self.times is None or number <= self.times)


@dataclass
class Commit:
    """A state of a repository: what was said of it, and all its files."""

    oid: str
    message: str
    files: dict[str, bytes]


@dataclass
class Repo:
    """A model repository: its branches, each with the newest commit last."""

    private: bool = False
    branches: dict[str, list[Commit]] = field(default_factory=lambda: {"main": []})

    @property
    def commits(self) -> list[Commit]:
        return self.branches["main"]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1].files

    def commit(self, message: str, files: dict[str, bytes], branch: str = "main") -> Commit:
        number = sum(len(commits) for commits in self.branches.values())
        oid = hashlib.sha1(f"{number} {message}".encode()).hexdigest()
        self.branches[branch].append(Commit(oid, message, files))
        return self.branches[branch][-1]

    def at(self, revision: str) -> Commit | None:
        if revision in self.branches:
            return self.branches[revision][-1]
        every = (commit for commits in self.branches.values() for commit in commits)
        return next((commit for commit in every if commit.oid == revision), None)


class HubServer:
    """
    The server, in a thread of this process. Writing needs `TOKEN`; reading only where a repository is private.

    `repos` by id, `blobs` by their SHA-256, `requests` as `"METHOD /path"` and the `tokens` that came with them are
    there to be looked at; `faults` to be filled.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()
        self.lock = threading.RLock()
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path, *, token: str | None = TOKEN) -> dict[str, str]:
        """The variables of a process that takes this server for the Hub, and keeps its files in `home`."""
        dropped = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_ENDPOINT")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        own = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        return {**kept, **own, **({} if token is None else {"HF_TOKEN": token})}

    def serve_here(self, monkeypatch: Any, folder: Path) -> None:
        """Make the client of this process take this server for the Hub, until `monkeypatch` undoes it."""
        from huggingface_hub import constants

        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "ENDPOINT": self.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": template,
            "HF_TOKEN_PATH": str(folder / "no-token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *about: Any) -> None:
        pass

    # ---- requests ----

    def _handle(self) -> None:
        hub = self.server_hub
        self.path_only, _, query = self.path.partition("?")
        self.query = parse_qs(query)
        line = f"{self.command} {unquote(self.path_only)}"
        authorization = self.headers.get("Authorization", "")
        self.token = authorization.removeprefix("Bearer ") or None
        with hub.lock:
            hub.requests.append(line)
            hub.tokens.add(self.token)
            fault = next((fault for fault in hub.faults if fault.hits(line)), None)
        if fault is not None and fault.cut:
            self.rfile.read(min(1024, int(self.headers.get("Content-Length", 0))))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = self._read_body()
        if fault is not None:
            time.sleep(fault.seconds)
            if fault.status is not None and fault.answer is not None:
                self._json(fault.answer, fault.status)
                return
            if fault.status is not None:
                self._error(fault.status, headers=fault.headers)
                return
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, unquote(self.path_only))
            if method == self.command.replace("HEAD", "GET") and found:
                with hub.lock:
                    answer(self, body, **found.groupdict())
                return
        self._error(404, "no such route")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    # ---- answers ----

    def _send(self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status)

    def _error(
        self, status: int, message: str = "", code: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        message = message or _MESSAGES.get(status, "Something went wrong here.")
        about = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self._send(json.dumps({"error": message}).encode(), status, about)

    # ---- who asks, and for what ----

    def _may_write(self) -> bool:
        if self.token == TOKEN:
            return True
        self._error(401)
        return False

    def _repo(self, repo: str) -> Repo | None:
        found = self.server_hub.repos.get(repo)
        if found is not None and (not found.private or self.token == TOKEN):
            return found
        # As on the Hub: who may not see it is not told that it exists.
        self._error(404 if self.token == TOKEN else 401, "Repository not found", "RepoNotFound")
        return None

    def _commit_at(self, repo: str, revision: str) -> Commit | None:
        found = self._repo(repo)
        if found is None:
            return None
        commit = found.at(revision)
        if commit is None:
            self._error(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    # ---- routes ----

    def whoami(self, body: bytes) -> None:
        if self._may_write():
            self._json({"type": "user", "name": USER, "auth": {"accessToken": {"role": "write"}}, "orgs": []})

    def create(self, body: bytes) -> None:
        if not self._may_write():
            return
        asked = json.loads(body)
        repo = f"{asked.get('organization') or USER}/{asked['name']}"
        if asked.get("organization") not in (None, USER):
            self._error(
                403, f"You don't have the rights to create a model under the namespace {asked['organization']!r}."
            )
            return
        address = {"url": f"{self.server_hub.url}/{repo}", "name": repo}
        if repo in self.server_hub.repos:
            self._json({"error": "You already created this model repo", **address}, 409)
            return
        # Of huggingface_hub from 1.8 on, and before.
        self.server_hub.repos[repo] = made = Repo(
            private=asked.get("visibility") == "private" or asked.get("private") is True
        )
        made.commit("initial commit", {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"})
        self._json(address)

    def branch(self, body: bytes, repo: str, branch: str) -> None:
        found = self._repo(repo) if self._may_write() else None
        if found is None:
            return
        if branch in found.branches:
            self._error(409, "Reference already exists")
            return
        found.branches[branch] = [found.commits[-1]]
        self._json({})

    def validate(self, body: bytes) -> None:
        content = json.loads(body)["content"]
        if content.startswith("---\n") and "\n---" in content[4:]:
            self._json({"errors": [], "warnings": []})
        else:
            self._json({"errors": [], "warnings": [{"message": "empty or missing yaml metadata in repo card"}]})

    def preupload(self, body: bytes, repo: str, revision: str) -> None:
        if not self._may_write() or self._commit_at(repo, revision) is None:
            return
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if _LARGE.search(file["path"]) or file["size"] > 10 * 2**20 else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self._json({"files": files})

    def batch(self, body: bytes, repo: str) -> None:
        if not self._may_write() or self._repo(repo) is None:
            return
        objects = []
        for asked in json.loads(body)["objects"]:
            action = {"upload": {"href": f"{self.server_hub.url}/lfs/{asked['oid']}", "header": {}}}
            objects.append(asked if asked["oid"] in self.server_hub.blobs else {**asked, "actions": action})
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, body: bytes, oid: str) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            self._error(400, "the content is not that of the name")
            return
        self.server_hub.blobs[oid] = body
        self._send(b"")

    def commit(self, body: bytes, repo: str, revision: str) -> None:
        newest = self._commit_at(repo, revision) if self._may_write() else None
        if newest is None:
            return
        header, *operations = [json.loads(line) for line in body.splitlines() if line.strip()]
        found = self.server_hub.repos[repo]
        files = dict(newest.files)
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                if value["oid"] not in self.server_hub.blobs:
                    self._error(400, f"{value['path']} was not uploaded")
                    return
                files[value["path"]] = self.server_hub.blobs[value["oid"]]
            elif operation["key"] == "deletedFile":
                files.pop(value["path"], None)
            else:
                self._error(400, f"unknown operation {operation['key']}")
                return
        made = found.commit(header["value"]["summary"], files, revision)
        url = f"{self.server_hub.url}/{repo}/commit/{made.oid}"
        self._json({"commitUrl": url, "commitOid": made.oid, "pullRequestUrl": None})

    def info(self, body: bytes, repo: str, revision: str | None = None) -> None:
        commit = self._commit_at(repo, revision or "main")
        if commit is None:
            return
        self._json(
            {
                "id": repo,
                "modelId": repo,
                "author": repo.partition("/")[0],
                "private": self.server_hub.repos[repo].private,
                "sha": commit.oid,
                "tags": [],
                "siblings": [{"rfilename": path} for path in sorted(commit.files)],
            }
        )

    def tree(self, body: bytes, repo: str, revision: str, folder: str | None = None) -> None:
        commit = self._commit_at(repo, revision)
        if commit is None:
            return
        prefix = f"{folder}/" if folder else ""
        inside = {path: content for path, content in commit.files.items() if path.startswith(prefix)}
        if folder and not inside:
            self._error(404, f"{folder} does not exist on {revision}", "EntryNotFound")
            return
        deep = "recursive" in self.query and self.query["recursive"] != ["false"]
        entries, folders = [], set()
        for path, content in sorted(inside.items()):
            below = path[len(prefix) :]
            if "/" in below:
                folders.add(prefix + below.partition("/")[0])
            if "/" not in below or deep:
                entries.append({"type": "file", "path": path, **_described(path, content)})
        self._json(
            [*({"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in sorted(folders)), *entries]
        )

    def resolve(self, body: bytes, repo: str, revision: str, path: str) -> None:
        commit = self._commit_at(repo, revision)
        if commit is None:
            return
        if path not in commit.files:
            self._error(404, f"{path} does not exist on {revision}", "EntryNotFound", {"X-Repo-Commit": commit.oid})
            return
        content = commit.files[path]
        tag = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{tag}"', "X-Repo-Commit": commit.oid, "Content-Type": "application/octet-stream"}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.command == "GET":
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(content[start:], 206, headers)
            return
        self._send(content, headers=headers)


def _described(path: str, content: bytes) -> dict[str, Any]:
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    about: dict[str, Any] = {"oid": oid, "size": len(content)}
    if _LARGE.search(path):
        about["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return about


_REPO, _REVISION = r"(?P<repo>[^/]+/[^/]+?)", r"(?P<revision>[^/]+)"
_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/api/whoami-v2", _Handler.whoami),
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("POST", f"/api/models/{_REPO}/branch/(?P<branch>[^/]+)", _Handler.branch),
    ("POST", f"/api/models/{_REPO}/preupload/{_REVISION}", _Handler.preupload),
    ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]+)", _Handler.upload),
    ("POST", f"/api/models/{_REPO}/commit/{_REVISION}", _Handler.commit),
    ("GET", f"/api/models/{_REPO}", _Handler.info),
    ("GET", f"/api/models/{_REPO}/revision/{_REVISION}", _Handler.info),
    ("GET", f"/api/models/{_REPO}/tree/{_REVISION}(/(?P<folder>.+))?", _Handler.tree),
    ("GET", f"/{_REPO}/resolve/{_REVISION}/(?P<path>.+)", _Handler.resolve),
]
