"""The video of a web page or manifest, by yt-dlp."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from restore_utils.errors import SourceError
from restore_utils.files.download import BLOCK, TIMEOUT_S, Progress, log, writing
from restore_utils.media.ffmpeg import binary
from restore_utils.sources.direct import MAX_BYTES, short, sniff

# Plain files and segments that yt-dlp fetches itself; no rtmp, no websocket, no external program.
PROTOCOLS = {"http", "https", "m3u8", "m3u8_native", "http_dash_segments", "http_dash_segments_generator"}


def format_choice(height: int | None) -> str:
    """yt-dlp's format expression: mp4 with m4a sound first, at most `height` lines; if all are larger, the smallest."""
    cap = "" if height is None else f"[height<=?{int(height)}]"
    choice = f"bv*{cap}[ext=mp4]+ba[ext=m4a]/b{cap}[ext=mp4]/bv*{cap}+ba/b{cap}/bv*{cap}"
    return choice if height is None else choice + "/wv*+ba/w"


class _PageLog:
    """yt-dlp's messages, for those who listen to the package's logger at DEBUG."""

    def debug(self, message: str) -> None:
        log.debug("yt-dlp: %s", message)

    info = warning = error = debug


def download_page(
    url: str, folder: Path, key: str, height: int | None, progress: Progress | None, cookies: Path | None = None
) -> Path:
    """Downloads the first video of a page by yt-dlp, into a folder of its own first.

    Args:
        cookies: a file in the format of Netscape, as browsers' extensions export it; a copy of it is used.
    """
    import yt_dlp

    work = (folder / f"{key}.part").resolve()  # yt-dlp answers with whole paths
    if (folder / f"{key}.part").is_symlink():
        (folder / f"{key}.part").unlink()
        work = folder.resolve() / f"{key}.part"
    lacking = _lacking()

    def tell(event: Mapping) -> None:
        if progress and event.get("status") in ("downloading", "finished"):
            progress(int(event.get("downloaded_bytes") or 0), event.get("total_bytes") or None)

    options = {
        "format": format_choice(height),
        "outtmpl": {"default": str(work).replace("%", "%%") + "/clip.%(ext)s"},
        "merge_output_format": "mp4/mkv",
        "ffmpeg_location": str(binary()),
        "external_downloader": {"default": "native"},
        "noplaylist": True,
        "playlist_items": "1",
        "retries": 10,
        "fragment_retries": 10,
        "skip_unavailable_fragments": False,
        "socket_timeout": TIMEOUT_S,
        "max_filesize": MAX_BYTES,
        "cachedir": False,
        "js_runtimes": {name: {"path": path} for name, path in _runtimes().items()},
        "quiet": True,
        "noprogress": True,
        "no_color": True,
        "logger": _PageLog(),
        "progress_hooks": [tell],
    }
    if cookies is not None:
        options["cookiefile"] = _cookies(cookies)
    try:
        with writing(work), yt_dlp.YoutubeDL(options) as downloader:
            info = downloader.extract_info(url, download=False)
            info = next((entry for entry in info.get("entries") or ()), None) if "entries" in info else info
            _check_page(url, info)
            work.mkdir(exist_ok=True)
            got = downloader.process_ie_result(info, download=True).get("requested_downloads") or [{}]
    except yt_dlp.utils.YoutubeDLError as error:
        raise SourceError(_page_error(url, str(error), lacking, cookies is not None)) from error
    return _landed(url, work, got[0].get("filepath"), folder / key)


def _check_page(url: str, info: Mapping | None) -> None:
    where = short(url)
    if not info:
        raise SourceError(f"{where}: no video found on this page; give the URL of the video itself")
    if info.get("is_live") or info.get("live_status") == "is_upcoming":
        raise SourceError(f"{where}: a live stream has no end; give the URL of a finished recording")
    for chosen in info.get("requested_formats") or [info]:
        if chosen.get("protocol") not in PROTOCOLS:
            raise SourceError(
                f"{where}: the page offers its video by {chosen.get('protocol')} only, which is not supported"
            )


def _landed(url: str, work: Path, got: str | None, target: Path) -> Path:
    """Moves the file that yt-dlp left in `work` to its place, after a look at what it is."""
    if not got or Path(got).resolve().parent != work or not Path(got).is_file():
        raise SourceError(f"{short(url)}: the download is not complete: run again to resume")
    with open(got, "rb") as file:
        suffix = sniff(file.read(BLOCK))
    if not suffix.startswith("."):
        shutil.rmtree(work)
        raise SourceError(
            f"{short(url)}: the page gave something that is not a video; give the URL of the video itself"
        )
    done = target.with_name(target.name + suffix)
    os.replace(got, done)
    shutil.rmtree(work, ignore_errors=True)
    return done


def _runtimes() -> dict[str, str]:
    """What can run the JavaScript of a page, without which YouTube gives its videos to nobody: by name, its path.

    The package `deno` of PyPI brings one; else what is on the path.
    """
    beside = Path(sys.executable).with_name("deno.exe" if os.name == "nt" else "deno")
    places = {"deno": str(beside) if beside.exists() else shutil.which("deno"), "node": shutil.which("node")}
    return {name: path for name, path in places.items() if path}


def _lacking() -> str:
    """What to install where sites ask for more than there is; "" where nothing lacks."""
    packages = []
    if importlib.util.find_spec("yt_dlp_ejs") is None:
        packages.append("'yt-dlp[default]'")
    if not _runtimes():
        packages.append("deno")
    return f"pip install {' '.join(packages)}" if packages else ""


def _cookies(file: Path) -> io.StringIO:
    """The cookies of a file, in memory: yt-dlp would write to the file itself.

    Raises:
        SourceError: it is no file of cookies.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SourceError(f"{file}: cookies cannot be read ({getattr(error, 'strerror', '') or 'no text'})") from None
    lines = [line for line in text.splitlines() if line and not line.startswith(("# ", "#\t"))]
    if not lines or not all(line.count("\t") == 6 or line.startswith("#") for line in lines):
        raise SourceError(f"{file} holds no cookies: export them from the browser in the format of Netscape")
    return io.StringIO(text if text.startswith("#") else f"# Netscape HTTP Cookie File\n{text}")


def _page_error(url: str, message: str, lacking: str = "", with_cookies: bool = False) -> str:
    """One line out of yt-dlp's, with what to do."""
    line = re.sub(r"\x1b\[[0-9;]*m", "", message).strip().splitlines()[0] if message.strip() else "unknown error"
    line = re.sub(r"^ERROR:\s*", "", line).split("; please report this issue")[0].rstrip(". ")[:200]
    low = message.lower()
    if "unsupported url" in low or "no video" in low:
        return f"{short(url)}: this is a web page in which no video was found; give the URL of the video itself"
    if lacking and ("youtu" in url.lower() or "javascript" in low or "challenge" in low):
        advice = f"this site needs more than is here: {lacking}, and run again"
    elif any(sign in low for sign in ("not a bot", "sign in", "cookies", "403", "429", "captcha", "rate-limit")):
        cookies = "export fresh cookies" if with_cookies else "give the cookies of a browser that is let in (--cookies)"
        advice = (
            "the site turns this computer away, as many do with data centres such as Colab: download the film on your "
            f"own computer and give its path, or {cookies}"
        )
    elif any(sign in low for sign in ("timed out", "resolve", "refused", "unreachable", "reset by peer")):
        advice = "check the connection and run again"
    else:
        advice = "try `pip install -U 'yt-dlp[default]' deno`, or download the film yourself and give its path"
    return f"{short(url)}: {line}; {advice}"
