"""A stand-in for Google Cloud Storage: what tensorstore, gcsfs and google-cloud-storage ask of it.

The JSON API of https://cloud.google.com/storage/docs/json_api/v1, with the preconditions on
generations that make two writers see each other. Objects live in memory.
"""

import contextlib
import email
import email.policy
import json
import re
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

BUCKET = "bucket"


class Object(NamedTuple):
    data: bytes
    generation: int
    seconds: float


class Refused(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, message: str = ""):
        super().__init__(message)
        self.status, self.message = status, message


class Bucket:
    """The objects by name; every method is atomic, as the real one's are."""

    def __init__(self):
        self._generation = 1_700_000_000_000_000
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        self.objects: dict[str, Object] = {}
        self.uploads: dict[str, tuple[str, dict, bytearray]] = {}
        self.denied = ""  # methods that the caller has no permission for
        self.down = False
        self.limited = False  # to one write a second of each object, as the real one is
        self.layout_denied = False  # storage.buckets.get, which roles of objects do not have
        self.lost_answers = 0  # writes yet to be done and then answered with an error
        self.on_write = lambda url: None  # called before anything is written or deleted
        self.asked: list[str] = []  # method and path of every request

    def get(self, name: str) -> Object:
        if name not in self.objects:
            raise Refused(404, f"No such object: {BUCKET}/{name}")
        return self.objects[name]

    def check(self, name: str, query: dict[str, str]) -> None:
        """Raises unless the object is as the caller has seen it; generation 0 is none."""
        now = self.objects[name].generation if name in self.objects else 0
        if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != now:
            raise Refused(412, "conditionNotMet")
        if "ifGenerationNotMatch" in query and int(query["ifGenerationNotMatch"]) == now:
            raise Refused(304)

    def put(self, name: str, data: bytes, query: dict[str, str]) -> dict:
        with self.lock:
            recent = name in self.objects and time.time() - self.objects[name].seconds < 1
            if self.limited and recent:
                raise Refused(429, "rateLimitExceeded")
            self.check(name, query)
            self._generation += 1
            self.objects[name] = Object(bytes(data), self._generation, time.time())
            if self.lost_answers:
                self.lost_answers -= 1
                raise Refused(503, "backendError")
            return self.resource(name)

    def delete(self, name: str, query: dict[str, str]) -> None:
        with self.lock:
            self.get(name)
            self.check(name, query)
            del self.objects[name]

    def resource(self, name: str) -> dict:
        found = self.get(name)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(found.seconds))
        stamp += f".{int(found.seconds % 1 * 1000):03}Z"
        return {
            "kind": "storage#object",
            "id": f"{BUCKET}/{name}/{found.generation}",
            "name": name,
            "bucket": BUCKET,
            "generation": str(found.generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "size": str(len(found.data)),
            "timeCreated": stamp,
            "updated": stamp,
            "etag": str(found.generation),
            "storageClass": "STANDARD",
        }

    def listing(self, query: dict[str, str]) -> dict:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        start, end = query.get("startOffset", ""), query.get("endOffset", "")
        token, most = query.get("pageToken", ""), int(query.get("maxResults", 1000))
        names: list[str] = []
        prefixes: set[str] = set()
        with self.lock:
            for name in sorted(self.objects):
                if name.startswith(prefix) and name >= start and not (end and name >= end):
                    head, found, _ = name[len(prefix) :].partition(delimiter or "\0")
                    shown = prefix + head + delimiter if found else name
                    prefixes |= {shown} if found else set()
                    if shown > token and shown not in names[-1:]:
                        names.append(shown)
            page = names[:most]
            return {
                "kind": "storage#objects",
                "items": [self.resource(n) for n in page if n not in prefixes],
                "prefixes": [n for n in page if n in prefixes],
                **({"nextPageToken": page[-1]} if len(names) > most else {}),
            }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    bucket: Bucket

    def do_GET(self):
        self._answer()

    do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, *_):
        """Nothing."""

    def _answer(self) -> None:
        body = self._body()
        try:
            status, headers, data = self._do(self.command, self.path, dict(self.headers), body)
        except Refused as error:
            shown = {"error": {"code": error.status, "message": error.message}}
            status, headers, data = error.status, {}, json.dumps(shown).encode()
        with contextlib.suppress(ConnectionError):  # of a caller that was killed
            self._send(status, headers, data)

    def _send(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(b"" if status == 304 else data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _do(self, method: str, url: str, headers: dict[str, str], body: bytes):
        headers = {name.lower(): value for name, value in headers.items()}
        path, _, text = url.partition("?")
        query = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
        bucket = self.bucket
        bucket.asked.append(f"{method} {urllib.parse.unquote(path)}")
        if bucket.down:
            raise Refused(503, "backendError")
        if method != "GET":
            bucket.on_write(urllib.parse.unquote(url))
        if method in bucket.denied.split():
            raise Refused(403, "does not have storage.objects access")
        if path.startswith("/batch"):
            return self._batch(headers, body)
        if not (
            found := re.fullmatch(r"(/\w+)?/storage/v1/b/([^/]+)(/storageLayout|/o(/.*)?)?", path)
        ):
            raise Refused(501, f"{method} {url}")
        if found[2] != BUCKET:
            raise Refused(404, "The specified bucket does not exist.")
        if found[1] == "/upload":
            return self._upload(method, query, headers, body)
        if not (found[3] or "").startswith("/o"):
            if bucket.layout_denied:
                raise Refused(403, "does not have storage.buckets.get access")
            layout = {"name": BUCKET, "hierarchicalNamespace": {"enabled": False}}
            return 200, {}, json.dumps({"locationType": "region", **layout}).encode()
        if not found[4]:
            return 200, {}, json.dumps(bucket.listing(query)).encode()
        name, *target = [
            urllib.parse.unquote(part)
            for part in re.split("/(?:rewriteTo|copyTo)/b/[^/]+/o/", found[4][1:])
        ]
        if target:
            with bucket.lock:
                made = bucket.put(target[0], bucket.get(name).data, {})
            done = {"done": True, "resource": made} if "rewriteTo" in found[4] else made
            return 200, {}, json.dumps(done).encode()
        if method == "DELETE":
            bucket.delete(name, query)
            return 204, {}, b""
        with bucket.lock:
            stored = bucket.get(name)
            bucket.check(name, query)
            made = json.dumps(bucket.resource(name)).encode()
        stamp = {"x-goog-generation": str(stored.generation), "ETag": str(stored.generation)}
        if query.get("alt") != "media":
            return 200, stamp, made
        if span := re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("range", "")):
            size = len(stored.data)
            first = int(span[1]) if span[1] else size - int(span[2])
            last = min(int(span[2]), size - 1) if span[1] and span[2] else size - 1
            if first >= size:
                raise Refused(416)
            stamp["Content-Range"] = f"bytes {first}-{last}/{size}"
            return 206, stamp, stored.data[first : last + 1]
        return 200, stamp, stored.data

    def _upload(self, method: str, query: dict[str, str], headers: dict[str, str], body: bytes):
        bucket = self.bucket
        if "upload_id" in query:
            name, asked, data = bucket.uploads[query["upload_id"]]
            span = headers.get("content-range", "")
            if begin := re.match(r"bytes (\d+)-", span):  # sent again, it is not there twice
                data[int(begin[1]) :] = body
            if span.endswith("/*"):
                return 308, {"Range": f"bytes=0-{len(data) - 1}"}, b""
            made = bucket.put(name, data, asked)
            return 200, {}, json.dumps(made).encode()
        if query.get("uploadType") == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            with bucket.lock:
                id = str(len(bucket.uploads))
                bucket.uploads[id] = name, query, bytearray()
            host = f"http://{headers['host']}"
            where = f"{host}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&upload_id={id}"
            return 200, {"Location": where}, b"{}"
        if query.get("uploadType") == "multipart":
            about, content = _parts(headers["content-type"], body)
            name = query.get("name") or json.loads(about)["name"]
            return 200, {}, json.dumps(bucket.put(name, content, query)).encode()
        return 200, {}, json.dumps(bucket.put(query["name"], body, query)).encode()

    def _batch(self, headers: dict[str, str], body: bytes):
        answers = []
        for part in _parts(headers["content-type"], body):
            method, url, *_ = part.decode().strip().split()
            try:
                status, _, _ = self._do(
                    method,
                    urllib.parse.urlsplit(url)._replace(scheme="", netloc="").geturl(),
                    {},
                    b"",
                )
            except Refused as error:
                status = error.status
            answers.append(
                f"--b\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status} -\r\n\r\n"
            )
        return (
            200,
            {"Content-Type": "multipart/mixed; boundary=b"},
            ("\r\n".join(answers) + "--b--").encode(),
        )


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A caller that was killed, or has heard enough, is none."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _parts(kind: str, body: bytes) -> list[bytes]:
    """The parts of a multipart body, as bytes: `email` would change line ends in them."""
    boundary = email.message_from_string(f"Content-Type: {kind}", policy=email.policy.default)
    mark = b"--" + boundary.get_boundary().encode()
    pieces = re.split(rb"\r?\n?" + re.escape(mark) + rb"(?:--)?\r?\n?", body)
    return [re.split(rb"\r?\n\r?\n", piece, maxsplit=1)[1] for piece in pieces if piece.strip()]


@contextlib.contextmanager
def serving(bucket: Bucket) -> Iterator[str]:
    """Serves it on a free port; yields the URL."""
    server = Server(("127.0.0.1", 0), type("Serving", (Handler,), {"bucket": bucket}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def environment(url: str) -> dict[str, str]:
    """What makes the clients ask the stand-in, and nobody for credentials."""
    return {
        "STORAGE_EMULATOR_HOST": url,  # gcsfs and google-cloud-storage
        "TENSORSTORE_GCS_HTTP_URL": url,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",  # tensorstore
        "GOOGLE_CLOUD_PROJECT": "project",
    }
