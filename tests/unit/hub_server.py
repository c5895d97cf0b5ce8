"""A server on loopback that speaks the Hugging Face hub's paths, for models and data sets alike."""

import contextlib
import hashlib
import http.server
import json
import socket
import threading
import urllib.parse

from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """/api/models/REPO/revision/REV and /REPO/resolve/REV/FILE, with ETag, commit, length and ranges."""

    files, repo, status, cuts, requests, tokens, cut = {}, "", 200, 0, [], set(), (".bin", ".parquet")
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        type(self).requests.append((self.command, self.path, self.headers.get("Range")))
        type(self).tokens.add(self.headers.get("Authorization"))
        if self.status != 200:
            codes = {403: {"X-Error-Code": "GatedRepo"}, 404: {"X-Error-Code": "RepoNotFound"}}
            return self._send(self.status, b"{}", codes.get(self.status, {}), body)
        if "/tree/" in self.path:
            rows = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in self.files.items()
            ]
            return self._send(200, json.dumps(rows).encode(), {"Content-Type": "application/json"}, body)
        if self.path.startswith("/api/"):
            info = {"id": self.repo, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            return self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, body)
        name = urllib.parse.unquote(self.path.split("?")[0].split(f"/resolve/{COMMIT}/")[-1])
        if name not in self.files:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
        content = self.files[name]
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        headers["Accept-Ranges"] = "bytes"
        start = self.headers.get("Range")
        if start:
            content = content[int(start.removeprefix("bytes=").split("-")[0]) :]
        if body and name.endswith(self.cut) and type(self).cuts > 0:
            type(self).cuts -= 1
            self.send_response(200)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        return self._send(206 if start else 200, content, headers, body)

    def _send(self, status, content, headers, body):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(files: dict[str, bytes], repo: str, monkeypatch):
    """Serve these files as a repository; huggingface_hub is pointed there."""
    Hub.files, Hub.repo, Hub.status, Hub.cuts, Hub.requests, Hub.tokens = dict(files), repo, 200, 0, [], set()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.handle_error = lambda *args: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 256)  # so that half of a small file counts as begun
    monkeypatch.delenv("VPAUDIT_MIRROR", raising=False)
    try:
        yield Hub
    finally:
        server.shutdown()
