"""A bucket in memory that speaks as much of Google Cloud Storage's JSON API as a run needs.

gcsfs, google-cloud-storage and TensorStore, which writes Orbax's arrays, all talk to it over HTTP. As in a real bucket
an object appears whole, none can be appended to, and there are no folders.
"""

from __future__ import annotations

import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Bucket(ThreadingHTTPServer):
    """Serves `objects` (name -> generation, bytes) as `gs://sleepmami-tests`, until it is closed."""

    name = "sleepmami-tests"
    refuses = False  # to write
    daemon_threads = True

    def __init__(self):
        super().__init__(("localhost", 0), _Request)
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.parts: dict[str, bytes] = {}
        self.lock, self.generation = threading.Lock(), 0
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """A client may hang up: gcsfs asks two questions at once and takes the first answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Bucket

    def _handle(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        match = re.fullmatch(r"(/upload|/download)?/storage/v1/b/([^/]+)(/o(?:/(.+))?)?", url.path)
        if match is None:
            return self._answer(501)
        where, bucket, objects, name = match.groups()
        if bucket != self.server.name:
            return self._answer(404)
        with self.server.lock:
            if where == "/upload":
                return self._put(body, query)
            if name is not None:
                return self._object(unquote(name), query, whole=where == "/download")
            return self._answer(200, self._list(query) if objects else {"name": bucket})

    do_GET = do_POST = do_DELETE = _handle

    def _put(self, body: bytes, query: dict[str, str]) -> None:
        """A whole object; of a resumable upload, a begin or a part, of which the last makes the object."""
        if self.server.refuses:
            return self._answer(403, {"error": {"code": 403, "message": "not allowed to write"}})
        name = query.get("name")
        if query["uploadType"] == "resumable" and "upload_id" not in query:
            return self._answer(200, Location=f"{self.server.url}{self.path}&upload_id={name}")
        if query["uploadType"] == "resumable":
            body = self.server.parts.pop(name, b"") + body
            if self.headers["Content-Range"].endswith("/*"):
                self.server.parts[name] = body
                return self._answer(308, Range=f"bytes=0-{len(body) - 1}")
        if query["uploadType"] == "multipart":  # the name, and then the bytes
            boundary = re.search('boundary="?([^"]+)', self.headers["Content-Type"])[1].encode()
            parts = body.split(b"--" + boundary)
            described, body = (re.split(rb"\r?\n\r?\n", part, maxsplit=1)[1] for part in parts[1:3])
            name, body = json.loads(described)["name"], body.removesuffix(b"\n")
        if self._stale(name, query):
            return self._answer(412)
        self.server.generation += 1
        self.server.objects[name] = (self.server.generation, body)
        return self._answer(200, self._about(name))

    def _object(self, name: str, query: dict[str, str], whole: bool) -> None:
        if self._stale(name, query):
            return self._answer(412)
        if name not in self.server.objects:
            return self._answer(404)
        generation, data = self.server.objects[name]
        if self.command == "DELETE":
            del self.server.objects[name]
            return self._answer(204)
        if not whole and query.get("alt") != "media":
            return self._answer(200, self._about(name))
        if query.get("ifGenerationNotMatch") == str(generation):
            return self._answer(304)
        version = {"x-goog-generation": str(generation)}
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if span is None:
            return self._answer(200, data, **version)
        first, last = int(span[1]), int(span[2] or len(data) - 1)
        part = data[first : last + 1]
        if not part:
            return self._answer(416)
        held = f"bytes {first}-{first + len(part) - 1}/{len(data)}"
        return self._answer(206, part, **version, **{"Content-Range": held})

    def _list(self, query: dict[str, str]) -> dict:
        prefix, first, end = (query.get(name, "") for name in ("prefix", "startOffset", "endOffset"))
        items, prefixes = [], set()
        for name in sorted(self.server.objects):
            if name.startswith(prefix) and name >= first and (not end or name < end):
                head, slash, _ = name[len(prefix) :].partition(query.get("delimiter", "\0"))
                if slash:
                    prefixes.add(prefix + head + slash)
                else:
                    items.append(self._about(name))
        return {"items": items, "prefixes": sorted(prefixes)}

    def _stale(self, name: str, query: dict[str, str]) -> bool:
        generation, _ = self.server.objects.get(name, (0, b""))
        return query.get("ifGenerationMatch", str(generation)) != str(generation)

    def _about(self, name: str) -> dict:
        generation, data = self.server.objects[name]
        return {"name": name, "generation": str(generation), "size": str(len(data))}

    def _answer(self, status: int, content: dict | bytes = b"", **headers: str) -> None:
        data = json.dumps(content).encode() if isinstance(content, dict) else content
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if isinstance(content, dict) else "text/plain")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_) -> None:
        pass
