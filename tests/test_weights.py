"""Weights on their way here: downloads from a server that misbehaves on demand, and what is here already."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from restore_utils.errors import ModelError
from restore_utils.files import download
from restore_utils.restorers import weights
from restore_utils.restorers.weights import WeightFile

CONTENT = bytes(range(256)) * 400  # 102,400 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = bytes(reversed(CONTENT))
FORM = """<html><body><p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="/download" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="ID"><input type="hidden" name="confirm" value="t">
<input type="hidden" name="uuid" value="a-b-c"></form></body></html>"""


class Server(ThreadingHTTPServer):
    """Counts requests; the path says how to misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.etag = '"one"'

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        ranged = self.headers.get("Range")
        times = sum(1 for path, _ in self.server.asked if path == parts.path)
        self.server.asked.append((parts.path, ranged))
        behave = getattr(self, "_" + parts.path.strip("/").split(".")[0], None)
        if behave is None:
            self.send_error(404)
        else:
            behave(ranged, times, parse_qs(parts.query))

    def _send(self, body: bytes, status: int = 200, kind: str = "application/octet-stream", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _part(self, ranged: str | None, content: bytes, stop: int | None = None) -> None:
        """Answer a range request, and break off at byte `stop` of the file."""
        matches = self.headers.get("If-Range") in (None, self.server.etag)
        first = int(ranged.split("=")[1].rstrip("-")) if ranged and matches else 0
        headers = {"ETag": self.server.etag, "Content_Length": str(len(content) - first)}
        if first:
            headers["Content_Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self._send(content[first:stop], 206 if first else 200, **headers)
        if stop is not None:
            self.close_connection = True

    def _ok(self, ranged, times, query):
        self._part(ranged, CONTENT)

    def _cut(self, ranged, times, query):
        """Breaks off after 40,000 bytes, then after 80,000, then gives the rest."""
        self._part(ranged, CONTENT, (40_000, 80_000, None)[min(times, 2)])

    def _always_cut(self, ranged, times, query):
        self._part(None, CONTENT, 10_000)

    def _no_ranges(self, ranged, times, query):
        self._send(CONTENT if times else CONTENT[:50_000], Content_Length=str(len(CONTENT)))
        self.close_connection = not times

    def _wrong_range(self, ranged, times, query):
        self._send(CONTENT[7:], 206, Content_Range=f"bytes 7-{len(CONTENT) - 1}/{len(CONTENT)}")

    def _other(self, ranged, times, query):
        self._part(ranged, OTHER)

    def _longer(self, ranged, times, query):
        self._send(CONTENT + b"more")

    def _endless(self, ranged, times, query):
        """Says nothing of the length and never stops by itself."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            while True:
                self.wfile.write(CONTENT)
        except OSError:
            self.close_connection = True

    def _html(self, ranged, times, query):
        self._send(b"<!DOCTYPE html><title>Sign in</title>", kind="text/html; charset=utf-8")

    def _disguised(self, ranged, times, query):
        self._send(b"\n <html>Access denied</html>")

    def _lfs(self, ranged, times, query):
        self._send(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")

    def _busy(self, ranged, times, query):
        self.send_error(503) if times < 2 else self._part(ranged, CONTENT)

    def _drive(self, ranged, times, query):
        self._send(FORM.replace("ID", query["id"][0]).encode(), kind="text/html", Set_Cookie="warned=yes; Path=/")

    def _download(self, ranged, times, query):
        confirmed = query == {"id": ["123"], "confirm": ["t"], "uuid": ["a-b-c"]}
        if confirmed and "warned=yes" in self.headers.get("Cookie", ""):
            self._part(ranged, CONTENT)
        else:
            self.send_error(403)

    def _quota(self, ranged, times, query):
        self._send(b"<html>Quota exceeded: too many users have viewed this file</html>", kind="text/html")


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    folder = tmp_path / "models"
    monkeypatch.setenv("RESTORE_MODELS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSE_S", 0)
    return folder


def file_at(*urls: str, size: int | None = len(CONTENT), sha256: str | None = SHA256) -> WeightFile:
    return WeightFile("net.pth", urls, size, sha256)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"net.pth.lock"}


# --- downloads --------------------------------------------------------------------------------------------------------


def test_download_is_verified_and_lands_whole(server, models):
    seen = []
    path = weights.fetch(file_at(server.url("ok")), progress=lambda done, total: seen.append((done, total)))
    assert path == models / "net.pth"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert left_in(models) == {"net.pth"}


def test_what_is_here_is_not_downloaded_again(server, models):
    for _ in range(2):
        weights.fetch(file_at(server.url("ok")))
    assert len(server.asked) == 1


def test_download_that_breaks_off_goes_on_where_it_stopped(server, models):
    assert weights.fetch(file_at(server.url("cut"))).read_bytes() == CONTENT
    assert [ranged for _, ranged in server.asked] == [None, "bytes=40000-", "bytes=80000-"]


def test_part_of_an_earlier_run_is_continued(server, models):
    models.mkdir()
    (models / "net.pth.part").write_bytes(CONTENT[:60_000])
    assert weights.fetch(file_at(server.url("ok"))).read_bytes() == CONTENT
    assert server.asked == [("/ok", "bytes=60000-")]


@pytest.mark.parametrize("wrong", [OTHER[:60_000], OTHER + b"longer than the file"])
def test_part_of_another_file_is_noticed_and_begun_anew(server, models, wrong):
    models.mkdir()
    (models / "net.pth.part").write_bytes(wrong)
    assert weights.fetch(file_at(server.url("ok"))).read_bytes() == CONTENT


def test_server_without_ranges_sends_all_of_it_again(server):
    assert weights.fetch(file_at(server.url("no_ranges"))).read_bytes() == CONTENT


def test_without_a_hash_a_part_is_continued_only_if_the_file_is_the_same(server, models):
    unknown = file_at(server.url("ok"), size=None, sha256=None)
    models.mkdir()
    (models / "net.pth.part").write_bytes(OTHER[:60_000])
    (models / "net.pth.part.json").write_text(json.dumps({"url": server.url("ok"), "validator": '"older"'}))
    assert weights.fetch(unknown).read_bytes() == CONTENT
    assert server.asked == [("/ok", "bytes=60000-")]  # and the server said that it has changed


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("other", "SHA-256"),
        ("longer", "102,404 bytes, 102,400 were expected"),
        ("endless", "more than the 102,400 bytes"),
        ("html", "web page instead of the file"),
        ("disguised", "web page|bytes, 102,400 were expected"),
        ("lfs", "bytes, 102,400 were expected"),
        ("wrong_range", "another part of the file"),
        ("nowhere", "404"),
    ],
)
def test_mirror_is_tried_when_a_server_does_not_give_the_file(server, models, path, why):
    assert weights.fetch(file_at(server.url(path), server.url("ok"))).read_bytes() == CONTENT
    (models / "net.pth").unlink()
    with pytest.raises(ModelError, match=why) as caught:
        weights.fetch(file_at(server.url(path)))
    assert str(models / "net.pth") in str(caught.value)  # where to put it
    assert server.url(path) in str(caught.value)
    assert "net.pth" not in left_in(models)


@pytest.mark.parametrize("path", ["disguised", "lfs", "html"])
def test_pages_and_pointers_are_recognised_without_a_known_size(server, path):
    with pytest.raises(ModelError, match=r"web page|LFS pointer"):
        weights.fetch(file_at(server.url(path), size=None, sha256=None))


def test_busy_server_is_asked_again(server):
    assert weights.fetch(file_at(server.url("busy"))).read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_server_that_always_breaks_off_is_given_up(server):
    with pytest.raises(ModelError, match="cut off after 10,000 of 102,400 bytes"):
        weights.fetch(file_at(server.url("always_cut")))
    assert len(server.asked) < 10


def test_google_drive_confirmation_is_followed(server, monkeypatch):
    monkeypatch.setattr(weights, "_DRIVE", {f"127.0.0.1:{server.server_port}"})
    assert weights.fetch(file_at(server.url("drive?id=123"))).read_bytes() == CONTENT
    with pytest.raises(ModelError, match="fetched too often today"):
        weights.fetch(WeightFile("more.pth", (server.url("quota?id=123"),)))


def test_two_at_once_download_once(server, models):
    results = []
    work = [
        threading.Thread(target=lambda: results.append(weights.fetch(file_at(server.url("cut"))))) for _ in range(2)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert results == [models / "net.pth"] * 2
    assert len(server.asked) == 3  # the pieces of one download


def test_no_network_says_where_from_and_where_to(models):
    url = "http://127.0.0.1:9/net.pth"
    with pytest.raises(ModelError) as caught:
        weights.fetch(file_at(url))
    assert f"download it from {url} and put it at {models / 'net.pth'}" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- what is here -----------------------------------------------------------------------------------------------------


def test_offline_folder_is_used_and_verified(models):
    models.mkdir()
    (models / "net.pth").write_bytes(CONTENT)
    assert weights.fetch(file_at("http://127.0.0.1:9/")) == models / "net.pth"
    (models / "net.pth").write_bytes(OTHER)
    with pytest.raises(ModelError, match="SHA-256 is"):
        weights.fetch(file_at("http://127.0.0.1:9/"))
    (models / "net.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match="102,399 bytes instead of 102,400"):
        weights.fetch(file_at("http://127.0.0.1:9/"))


def test_beginning_of_a_hash_is_checked_too(models):
    models.mkdir()
    (models / "net.pth").write_bytes(CONTENT)
    assert weights.fetch(file_at(sha256=SHA256[:8], size=None)) == models / "net.pth"
    with pytest.raises(ModelError, match="00000000"):
        weights.fetch(file_at(sha256="00000000", size=None))


def test_without_a_published_hash_the_first_copy_is_pinned(models):
    models.mkdir()
    unknown = file_at("http://127.0.0.1:9/", size=None, sha256=None)
    (models / "net.pth").write_bytes(CONTENT)
    weights.fetch(unknown)
    assert (models / "net.pth.sha256").read_text() == f"{SHA256}  net.pth\n"
    weights.fetch(unknown)
    (models / "net.pth").write_bytes(OTHER + b"x")
    with pytest.raises(ModelError, match="has changed since its first use"):
        weights.fetch(unknown)
    (models / "net.pth.sha256").unlink()
    weights.fetch(unknown)


def test_fingerprint_follows_content_not_name(tmp_path):
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    first.write_bytes(CONTENT)
    second.write_bytes(CONTENT)
    assert weights.fingerprint(first) == weights.fingerprint(second)
    second.write_bytes(OTHER)
    assert weights.fingerprint(first) != weights.fingerprint(second)
