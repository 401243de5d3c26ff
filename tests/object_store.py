"""A store that answers as S3 does, in this process: objects with tags and times, and puts only where there is none."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape


@dataclass
class Objects:
    """What is in the store. Its clock may be far from that of this machine."""

    address: str = ""
    ahead: timedelta = timedelta()
    held: dict[str, tuple[bytes, datetime]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    refused: int = 0
    """Puts that came second."""
    pieces: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0) + self.ahead

    def put(self, name: str, data: bytes, *, only_new: bool = False) -> bool:
        with self.lock:
            if only_new and name in self.held:
                self.refused += 1
                return False
            self.held[name] = (data, self.now())
        return True


@contextmanager
def object_store() -> Iterator[Objects]:
    """A store at a loopback address."""
    objects = Objects()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def name(self):
            path, query = urlsplit(self.path)[2:4]
            bucket, _, name = unquote(path).lstrip("/").partition("/")
            return f"{bucket}/{name}", {key: values[0] for key, values in parse_qs(query, True).items()}

        def answer(self, code, body=b"", **headers):
            self.send_response(code)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def do_PUT(self):
            name, query = self.name()
            data = self.body()
            tag = f'"{hashlib.md5(data).hexdigest()}"'
            if "partNumber" in query:
                objects.pieces[name, int(query["partNumber"])] = data
            elif not objects.put(name, data, only_new=self.headers.get("If-None-Match") == "*"):
                self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            self.answer(200, ETag=tag)

        def do_POST(self):
            name, query = self.name()
            said = self.body().decode()
            if "delete" in query:
                keys = [unescape(key) for key in re.findall("<Key>(.*?)</Key>", said)]
                with objects.lock:
                    for key in keys:
                        objects.held.pop(f"{name}{key}", None)
                rows = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
                self.answer(200, f"<DeleteResult>{rows}</DeleteResult>".encode())
                return
            if "uploads" in query:
                text = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
                self.answer(200, text.encode())
                return
            numbers = sorted(number for held, number in objects.pieces if held == name)
            objects.put(name, b"".join(objects.pieces.pop((name, number)) for number in numbers))
            text = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
            self.answer(200, text.encode())

        def do_GET(self):
            name, query = self.name()
            if "list-type" in query:
                self.listing(name, query)
            elif name not in objects.held:
                self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            else:
                data, time = objects.held[name]
                said = {"Last_Modified": format_datetime(time, usegmt=True)}
                self.answer(200, data, ETag=f'"{hashlib.md5(data).hexdigest()}"', **said)

        do_HEAD = do_GET

        def listing(self, bucket, query):
            prefix = query.get("prefix", "")
            rows = "".join(
                f"<Contents><Key>{escape(name.partition('/')[2])}</Key><Size>{len(data)}</Size>"
                f"<LastModified>{time:%Y-%m-%dT%H:%M:%S.000Z}</LastModified><ETag>x</ETag></Contents>"
                for name, (data, time) in sorted(objects.held.items())
                if name.startswith(bucket + prefix)
            )
            text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{rows}</ListBucketResult>"
            self.answer(200, text.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    objects.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield objects
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
