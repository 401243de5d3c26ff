"""Downloads against a server on the loopback that misbehaves on purpose."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections import Counter
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from restore_utils import sources
from restore_utils.errors import DiskFullError, OptionError, SourceError
from restore_utils.files import download
from restore_utils.sources import direct, page


def make_clip(path: Path, seconds: float = 1.0, size: tuple[int, int] = (64, 48)) -> bytes:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(8), options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        noise = np.random.default_rng(1)
        for _ in range(int(seconds * 8)):
            picture = noise.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode())
    return path.read_bytes()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def reply(self, body: bytes, status=200, kind="video/mp4", length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length != "none":
            self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server: Site = self.server
        name = self.path.split("?")[0].strip("/")
        server.hits[name] += 1
        server.ranges.append(self.headers.get("Range"))
        clip, base = server.clip, f"http://127.0.0.1:{server.server_port}"
        server.cookies.append(self.headers.get("Cookie") or "")
        begin = int((self.headers.get("Range") or "bytes=0-").split("=")[1].split("-")[0])
        if name == "clip.mp4" or name.startswith("media/"):
            body = server.files.get(name.removeprefix("media/"), clip)
            self.reply(body, kind=server.kinds.get(Path(name).suffix, "video/mp4"))
        elif name == "drops":  # a third of the file at a time, with Range
            tail = clip[begin : begin + len(clip) // 3 + 1]
            rest = {"ETag": f'"{server.tag}"'}
            if begin and self.headers.get("If-Range") == f'"{server.tag}"':
                rest["Content-Range"] = f"bytes {begin}-{len(clip) - 1}/{len(clip)}"
                self.reply(tail, 206, length=len(clip) - begin, **rest)
            else:
                self.reply(clip[: len(clip) // 3 + 1], length=len(clip), **rest)
        elif name == "norange":  # drops twice, then all of it; knows no Range
            whole = server.hits[name] > 2
            self.reply(clip if whole else clip[: len(clip) // 2], length=len(clip), ETag='"a"')
        elif name == "short":
            self.reply(clip, length=len(clip) + 1000)
        elif name == "liar":  # answers 206 for another place than asked
            if begin:
                rest = {"Content-Range": f"bytes {begin + 5}-{len(clip) - 1}/{len(clip)}", "ETag": '"a"'}
                self.reply(clip[begin + 5 :], 206, **rest)
            else:
                self.reply(clip[: len(clip) // 2], length=len(clip), ETag='"a"')
        elif name == "nolength":
            self.reply(clip, length="none")
        elif name == "html.mp4":
            self.reply(b"<!DOCTYPE html><html><body>404 not here</body></html>", kind="video/mp4")
        elif name == "json":
            self.reply(b'{"error": "gone"}', kind="application/json")
        elif name == "binary":
            self.reply(bytes(range(256)) * 4, kind="application/octet-stream")
        elif name == "empty":
            self.reply(b"")
        elif name == "huge":
            self.reply(clip, length=1 << 50)
        elif name == "big":
            self.reply(clip, length=direct.MAX_BYTES)
        elif name.startswith("to-"):
            where = {"to-file": "file:///etc/passwd", "to-ftp": "ftp://127.0.0.1/x", "to-self": f"{base}/to-self"}
            self.reply(b"", 302, Location=where.get(name, f"{base}/clip.mp4"))
        elif name in server.pages:
            self.reply(server.pages[name].replace("BASE", base).encode(), kind="text/html")
        elif name == "forbidden":
            self.reply(b"no", 403, kind="text/plain")
        elif name == "busy":
            self.reply(b"", 503)
        else:
            self.reply(b"<html>nothing</html>", 404, kind="text/html")


class Site(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, clip: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.clip, self.tag = clip, "a"
        self.hits: Counter = Counter()
        self.cookies: list[str] = []
        self.ranges: list[str | None] = []
        self.files: dict[str, bytes] = {}
        self.kinds = {".mpd": "application/dash+xml", ".m3u8": "application/vnd.apple.mpegurl", ".m4a": "audio/mp4"}
        self.pages = {
            "page": "<!DOCTYPE html><html><head><title>../../../etc/<b>%(id)s</title></head>"
            '<body><video src="BASE/media/film.mp4"></video></body></html>',
            "page-file": '<html><body><video src="file:///etc/passwd"></video></body></html>',
            "page-none": "<html><body><p>nothing to see</p></body></html>",
        }

    def handle_error(self, *_):  # a client that hangs up is what several tests do
        pass


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 2.0)


@pytest.fixture
def site(clip, monkeypatch):
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Site(clip)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert 10 < len(text) < 500
    return text


def test_local_paths_come_back_as_they_are(tmp_path):
    file = tmp_path / "a film.mp4"
    file.write_bytes(b"x")
    assert sources.fetch(file, tmp_path / "cache") == file
    assert sources.fetch(f"  {file} ", tmp_path / "cache") == file
    assert sources.fetch(str(tmp_path), tmp_path / "cache") == tmp_path
    assert sources.fetch(file.as_uri(), tmp_path / "cache") == file
    assert sources.fetch(tmp_path / "frame_%05d.png", tmp_path / "cache").name == "frame_%05d.png"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("source", ["", "nowhere.mp4", "ftp://host/a.mp4", "rtsp://host/a", "concat:a.mp4|b.mp4"])
def test_what_cannot_be_a_source(source, tmp_path):
    with pytest.raises(SourceError) as error:
        sources.fetch(source, tmp_path)
    one_line(error)


def test_height_not_offered(tmp_path):
    with pytest.raises(OptionError, match="144, 240"):
        sources.fetch("http://127.0.0.1:9/x", tmp_path, height=481)


def test_direct_url_is_kept_and_reused(site, clip, tmp_path):
    told = []
    path = sources.fetch(f"{site.url}/clip.mp4", tmp_path, progress=lambda done, total: told.append((done, total)))
    assert path.parent == tmp_path
    assert path.suffix == ".mp4"
    assert path.read_bytes() == clip
    assert told[-1] == (len(clip), len(clip))
    assert sources.fetch(f"{site.url}/clip.mp4", tmp_path, height=480.0) == path
    assert site.hits["clip.mp4"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_broken_transfer_goes_on_where_it_ended(site, clip, tmp_path):
    assert sources.fetch(f"{site.url}/drops", tmp_path).read_bytes() == clip
    assert site.ranges[0] is None
    assert site.ranges[1] == f"bytes={len(clip) // 3 + 1}-"


def test_resumes_in_a_later_run_and_starts_over_when_the_file_changed(site, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 0)
    with pytest.raises(SourceError, match="run again"):
        sources.fetch(f"{site.url}/drops", tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    site.tag, site.clip = "b", clip[:-8] + b"\0" * 8
    assert sources.fetch(f"{site.url}/drops", tmp_path).read_bytes() == site.clip


def test_server_without_range(site, clip, tmp_path):
    assert sources.fetch(f"{site.url}/norange", tmp_path).read_bytes() == clip


def test_server_without_length(site, clip, tmp_path):
    assert sources.fetch(f"{site.url}/nolength", tmp_path).read_bytes() == clip


@pytest.mark.parametrize("name", ["short", "liar", "busy"])
def test_never_whole(site, name, tmp_path):
    with pytest.raises(SourceError) as error:
        sources.fetch(f"{site.url}/{name}", tmp_path)
    assert "again" in one_line(error)
    assert not list(tmp_path.glob("*.mp4"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.mp4", "404"),
        ("json", "not a video"),
        ("binary", "not a video"),
        ("empty", "empty"),
        ("huge", "more than"),
        ("to-file", "redirects"),
        ("to-ftp", "redirects"),
        ("to-self", "redirects"),
    ],
)
def test_refused(site, name, says, tmp_path):
    with pytest.raises(SourceError, match=says) as error:
        sources.fetch(f"{site.url}/{name}?token=secret", tmp_path)
    assert "secret" not in one_line(error)
    assert not [p for p in tmp_path.iterdir() if p.suffix not in (".part", ".json")]


def test_redirect_to_http_is_followed(site, clip, tmp_path):
    assert sources.fetch(f"{site.url}/to-clip", tmp_path).read_bytes() == clip


def test_no_room(site, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 30, 1 << 30, 1 << 20))
    with pytest.raises(DiskFullError, match="free"):
        sources.fetch(f"{site.url}/big", tmp_path)


def test_unreachable(site, tmp_path):
    with pytest.raises(SourceError, match="cannot be reached"):
        sources.fetch("http://127.0.0.1:9/clip.mp4", tmp_path)
    with pytest.raises(SourceError, match=r"not a valid URL|cannot be reached"):
        sources.fetch("http://[broken/clip.mp4", tmp_path)


def test_html_under_a_video_name_is_not_kept(site, tmp_path):
    with pytest.raises(SourceError, match="not a video") as error:
        sources.fetch(f"{site.url}/html.mp4", tmp_path)
    one_line(error)
    assert not list(tmp_path.iterdir())


def test_page_with_a_video_tag(site, clip, tmp_path):
    told = []
    path = sources.fetch(f"{site.url}/page", tmp_path, height=480, progress=lambda *a: told.append(a))
    assert path.parent == tmp_path
    assert path.read_bytes() == clip
    assert told[-1][0] == len(clip)
    hits = site.hits["page"]
    assert sources.fetch(f"{site.url}/page", tmp_path, height=480) == path
    assert site.hits["page"] == hits
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["page-file", "page-none"])
def test_page_without_a_usable_video(site, name, tmp_path):
    with pytest.raises(SourceError) as error:
        sources.fetch(f"{site.url}/{name}", tmp_path)
    one_line(error)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_forbidden_says_what_to_do(site, tmp_path):
    with pytest.raises(SourceError, match="your own computer"):
        sources.fetch(f"{site.url}/forbidden", tmp_path)


def test_manifest_with_a_choice_of_heights_and_separate_sound(site, tmp_path):
    """yt-dlp picks by height and merges with the ffmpeg that imageio-ffmpeg ships."""
    for height in (144, 288):
        site.files[f"v{height}.mp4"] = make_clip(tmp_path / f"v{height}.mp4", size=(2 * height, height))
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    site.files["sound.m4a"] = (tmp_path / "sound.m4a").read_bytes()
    video = "".join(
        f'<Representation id="v{h}" codecs="avc1.42c00d" width="{2 * h}" height="{h}" bandwidth="{h * 1000}">'
        f"<BaseURL>v{h}.mp4</BaseURL></Representation>"
        for h in (144, 288)
    )
    site.files["film.mpd"] = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
        f'<AdaptationSet mimeType="video/mp4">{video}</AdaptationSet><AdaptationSet mimeType="audio/mp4">'
        '<Representation id="a" codecs="mp4a.40.2" bandwidth="9000"><BaseURL>sound.m4a</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    ).encode()
    for height, expected in ((240, 144), (None, 288)):
        path = sources.fetch(f"{site.url}/media/film.mpd", tmp_path / "cache", height=height)
        with av.open(str(path)) as got:
            assert got.streams.video[0].height == expected
            assert len(got.streams.audio) == 1


@pytest.mark.parametrize(
    ("head", "kind", "expected"),
    [
        (b"\x00\x00\x00\x20ftypisom", "text/html", ".mp4"),
        (b"\x00\x00\x00\x14ftypqt  ", "", ".mov"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "", ".webm"),
        (b"\x1aE\xdf\xa3\x9fB\x82\x88matroska", "", ".mkv"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "", ".avi"),
        ((b"G" + b"\x00" * 187) * 2, "", ".ts"),
        (b"\xef\xbb\xbf\r\n <html>", "video/mp4", "page"),
        (b"#EXTM3U\n", "", "page"),
        (b"hello", "video/mp4", "text"),
        (b"\x00\x01\x02", "video/mp4; x=y", ".mp4"),
        (b"\x00\x01\x02", "application/zip", ""),
    ],
)
def test_sniff(head, kind, expected):
    assert direct.sniff(head, kind) == expected


def test_hostile_site_message_becomes_one_line_with_advice():
    text = page._page_error(
        "https://host/watch", "\x1b[31mERROR:\x1b[0m [x] id: Sign in to confirm you're not a bot.\nmore"
    )
    assert "\n" not in text
    assert "\x1b" not in text
    assert "your own computer" in text


def test_a_page_into_a_folder_that_is_named_from_here(site, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = sources.fetch(f"{site.url}/page", "film.mkv.job/source", height=480)
    assert path.parent == Path("film.mkv.job/source")
    assert path.read_bytes() == clip
    assert not list(path.parent.glob("*.part"))


def test_cookies_go_along_and_stay_as_they_are(site, tmp_path):
    jar = tmp_path / "cookies.txt"
    line = f"{site.url.split('/')[2].split(':')[0]}\tFALSE\t/\tFALSE\t4000000000\tkey\tsecret\n"
    jar.write_text(line)
    sources.fetch(f"{site.url}/page", tmp_path / "in", cookies=jar)
    assert any("key=secret" in cookie for cookie in site.cookies)
    assert jar.read_text() == line
    for text in ("", "no cookies at all\n"):
        jar.write_text(text)
        with pytest.raises(SourceError, match="holds no cookies"):
            sources.fetch(f"{site.url}/page", tmp_path / f"in{len(text)}", cookies=jar)
    with pytest.raises(SourceError, match="cookies cannot be read"):
        sources.fetch(f"{site.url}/page", tmp_path / "none", cookies=tmp_path / "none.txt")


def test_what_a_site_needs_and_is_not_here_is_said(monkeypatch):
    monkeypatch.setattr(page, "_runtimes", dict)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert page._lacking() == "pip install 'yt-dlp[default]' deno"
    line = page._page_error("https://www.youtube.com/watch?v=1", "Requested format is not available", page._lacking())
    assert "this site needs more than is here: pip install 'yt-dlp[default]' deno" in line
    assert "--cookies" in page._page_error("https://a.org/b", "Sign in to confirm you're not a bot")
