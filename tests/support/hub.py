"""The Hugging Face hub in memory: as much of its HTTP API as one who puts models there and fetches them needs.

A commit is made of whole files and named by a hash of what it holds; the last one is `main`. Reading is free, writing
needs a token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml


class Hub(ThreadingHTTPServer):
    """Serves `repositories` (name -> {commit or "main": {path: bytes}}) until it is closed.

    `asked` lists the files that were fetched.
    """

    token = "hf_of_the_tests"
    daemon_threads = True

    def __init__(self):
        super().__init__(("localhost", 0), _Request)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"

    def put(self, name: str, files: dict[str, bytes]) -> str:
        """A commit that changes these files; its name."""
        revisions = self.repositories.setdefault(name, {})
        whole = {**revisions.get("main", {}), **files}
        commit = hashlib.sha1(repr(sorted(whole.items())).encode()).hexdigest()
        revisions[commit] = revisions["main"] = whole
        return commit

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        match (self.command, parts):
            case ("POST", ["api", "validate-yaml"]):
                self._card(json.loads(body)["content"])
            case ("POST", ["api", *_]) if self.headers.get("Authorization") != f"Bearer {self.server.token}":
                self._answer(401, {"error": "Invalid username or password."})
            case ("POST", ["api", "repos", "create"]):
                wanted = json.loads(body)
                name = f"{wanted['organization']}/{wanted['name']}"
                self.server.put(name, {})
                self._answer(200, {"url": f"{self.server.url}/{name}", "id": name})
            case ("POST", ["api", "models", owner, name, "preupload", "main"]):
                paths = [file["path"] for file in json.loads(body)["files"]]
                modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
                self._answer(200, {"files": modes})
            case ("POST", ["api", "models", owner, name, "commit", "main"]):
                lines = [json.loads(line) for line in body.splitlines()]
                files = {v["path"]: base64.b64decode(v["content"]) for v in (x["value"] for x in lines) if "path" in v}
                commit = self.server.put(f"{owner}/{name}", files)
                where = f"{self.server.url}/{owner}/{name}/commit/{commit}"
                self._answer(200, {"commitUrl": where, "commitOid": commit})
            case ("GET", ["api", "models", owner, name, *rest]):
                self._about(f"{owner}/{name}", rest)
            case ("GET" | "HEAD", [owner, name, "resolve", revision, *path]):
                self._file(f"{owner}/{name}", revision, "/".join(path))
            case _:
                self._answer(501)

    do_GET = do_HEAD = do_POST = _handle

    def _files(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """The commit and its files; None once it is answered that there are none."""
        if name not in self.server.repositories:
            return self._answer(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
        revisions = self.server.repositories[name]
        if revision not in revisions:
            return self._answer(404, {"error": f"Invalid rev id: {revision}"}, **{"X-Error-Code": "RevisionNotFound"})
        files = revisions[revision]
        return next(commit for commit, of_it in revisions.items() if commit != "main" and of_it is files), files

    def _about(self, name: str, rest: list[str]) -> None:
        found = self._files(name, rest[1] if len(rest) > 1 else "main")
        if found is None:
            return
        commit, files = found
        if rest[:1] == ["tree"]:
            oids = {path: hashlib.sha1(data).hexdigest() for path, data in files.items()}
            tree = [{"type": "file", "path": p, "size": len(data), "oid": oids[p]} for p, data in files.items()]
            return self._answer(200, tree)
        self._answer(200, {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]})

    def _file(self, name: str, revision: str, path: str) -> None:
        found = self._files(name, revision)
        if found is None:
            return
        commit, files = found
        if path not in files:
            return self._answer(404, {"error": "Entry not found"}, **{"X-Error-Code": "EntryNotFound"})
        if self.command == "GET":
            self.server.asked.append(path)
        of_it = {"ETag": f'"{hashlib.sha1(files[path]).hexdigest()}"', "X-Repo-Commit": commit}
        self._answer(200, files[path], **of_it)

    def _card(self, content: str) -> None:
        """As strict as the hub is about what we say there."""
        front = yaml.safe_load(content.split("---")[1])
        known = {"license": str, "library_name": str, "pipeline_tag": str, "tags": list}
        wrong = [name for name, kind in known.items() if not isinstance(front.get(name), kind)]
        self._answer(400 if wrong else 200, {"errors": [{"message": name} for name in wrong], "warnings": []})

    def _answer(self, status: int, content: dict | list | bytes = b"", **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(content, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_) -> None:
        pass
