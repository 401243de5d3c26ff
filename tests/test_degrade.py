"""degrade: a whole film ruined; sound, times and untouched samples kept; the same seed makes the same film."""

import errno
import hashlib
from fractions import Fraction
from itertools import islice, pairwise

import av
import cv2
import numpy as np
import pytest
import torch

from restore_utils import damage
from restore_utils.damage import recipes, whole
from restore_utils.damage.overlay import overlay_frames, softlight
from restore_utils.damage.whole import degrade
from restore_utils.errors import DiskFullError, OptionError, OutputError, SourceError
from restore_utils.media import Reader, from_rgb, probe
from restore_utils.media.write import Encoding, Writer
from tests import films

LOSSLESS = Encoding("ffv1")
EMPTY = recipes.Recipe("test", "", ("35mm",), ())


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return films.shots(tmp_path_factory.mktemp("film") / "clean.mkv", (20, 15), (128, 96))


def pictures(path):
    with Reader(probe(path)) as reader:
        return [frame.planes.to_ndarray() for frame in reader]


def digest(path):
    return hashlib.sha256(b"".join(p.tobytes() for p in pictures(path))).hexdigest()


def times(path, kind):
    with av.open(str(path)) as container:
        return [p.pts * p.time_base for p in container.demux(**{kind: 0}) if p.pts is not None]


def grain_clip(path, size, rate, count, seed=0):
    """A bright grey clip with noise that gets darker to one side: not neutral, as found."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "gray"
        for _ in range(count):
            noise = cv2.GaussianBlur(rng.standard_normal(size[::-1]), (0, 0), 1.0)
            picture = 190 - 60 * np.linspace(0, 1, size[0]) + 60 * noise
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="gray"))
            )
        container.mux(stream.encode())
    return path


def test_sound_times_and_untouched_samples_are_kept(film, tmp_path):
    out = tmp_path / "out.mkv"
    calls = []
    recipe = EMPTY.plus("dust", rate=6)
    degrade(film, out, recipe, seed=1, encoding=LOSSLESS, progress=lambda done, total: calls.append(done))
    assert times(out, "audio") == times(film, "audio")
    assert times(out, "video") == sorted(times(film, "video"))
    assert calls == list(range(1, 36))
    same = [(a == b).mean() for a, b in zip(pictures(film), pictures(out))]
    assert min(same) < 0.9999
    assert np.mean(same) > 0.97
    assert not list(tmp_path.glob(".*"))


def test_painting_samples_is_what_apply_does_to_pictures(film, tmp_path):
    recipe = EMPTY.plus("dust", rate=8).plus("hair", rate=2)
    out = tmp_path / "out.mkv"
    degrade(film, out, recipe, seed=2, encoding=LOSSLESS)
    clip = probe(film)
    plan = damage.plan(np.random.default_rng(2), 10**9, (128, 96), recipe, frame=(128, 96))
    worst = []
    with Reader(clip) as reader:
        for frame, painted in zip(reader, pictures(out)):
            rgb, own = torch.from_numpy(frame.rgb())[None], frame.planes.to_ndarray()[:96].astype(int)
            damaged = damage.apply(rgb, plan, frame.n).damaged[0].numpy()
            there, back = (from_rgb(x, "yuv420p", frame.colour).to_ndarray()[:96] for x in (damaged, rgb[0].numpy()))
            in_gamut = np.abs(back - own) <= 1
            assert in_gamut.mean() > 0.7
            worst.append(np.abs(there.astype(int) - painted[:96])[in_gamut].max())
    assert max(worst) <= 2


@pytest.mark.parametrize("name", ["heavy", "home-8mm", "web-rip"])
def test_a_recipe_and_a_seed_reproduce_a_film(film, tmp_path, name):
    for k, seed in enumerate((3, 3, 4)):
        degrade(film, tmp_path / f"{k}.mkv", name, seed=seed, encoding=LOSSLESS)
    one, two, other = (digest(tmp_path / f"{k}.mkv") for k in range(3))
    assert one == two != other
    assert len(pictures(tmp_path / "0.mkv")) == 35


def test_strength_zero_changes_nothing(film, tmp_path):
    degrade(film, tmp_path / "out.mkv", "heavy", strength=0, encoding=LOSSLESS)
    assert digest(tmp_path / "out.mkv") == digest(film)


def test_the_users_overlay_may_have_any_size_rate_and_length(film, tmp_path):
    overlay = grain_clip(tmp_path / "grain.mkv", (80, 44), 30, 9)
    recipe = EMPTY.plus("overlay", opacity=1.0)
    out = tmp_path / "out.mkv"
    degrade(film, out, recipe, overlay=overlay, encoding=LOSSLESS)
    clean, ruined = ([f[:96].astype(float) for f in pictures(p)] for p in (film, out))
    assert len(ruined) == 35
    change = [b - a for a, b in zip(clean, ruined)]
    assert np.std(change) > 2
    assert abs(np.mean(change)) < 1.0  # grey levels: no brighter, no darker
    assert abs(np.mean([c[:, 100:] for c in change])) < 2.0


def test_an_overlay_loops_without_a_jump_and_is_mid_grey(tmp_path):
    path = grain_clip(tmp_path / "grain.mkv", (64, 48), 24, 60)
    frames = list(islice(overlay_frames(path, 64, 48, Fraction(24)), 200))
    assert abs(np.mean(frames) - 0.5) < 0.005
    spread = np.array([f.std() for f in frames])
    assert spread.min() > 0.75 * np.median(spread)
    assert all(f.shape == (48, 64) for f in frames)
    ramp = tmp_path / "ramp.mkv"
    with av.open(str(ramp), "w") as container:
        stream = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        for n in range(60):  # a speck that crosses the picture: it may fade, it may not jump
            picture = np.full((48, 64), 128, np.uint8)
            cv2.circle(picture, (2 + n, 24), 3, 255, -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode())
    frames = list(islice(overlay_frames(ramp, 64, 48, Fraction(24)), 150))
    steps = [np.abs(a - b).mean() for a, b in pairwise(frames)]
    assert max(steps) < 2.5 * np.median(steps)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_very_short_overlay_goes_on_for_ever(tmp_path, count):
    path = grain_clip(tmp_path / "grain.mkv", (32, 24), 24, count)
    assert len(list(islice(overlay_frames(path, 32, 24, Fraction(24)), 40))) == 40


def test_softlight_is_ffmpegs_with_the_picture_first():
    picture = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 256, 1)
    light = np.ascontiguousarray(picture.T)
    graph = av.filter.Graph()
    inputs = [graph.add_buffer(width=256, height=256, format="gray", time_base=Fraction(1, 25)) for _ in range(2)]
    blend, sink = graph.add("blend", "all_mode=softlight"), graph.add("buffersink")
    for k, node in enumerate(inputs):
        node.link_to(blend, 0, k)
    blend.link_to(sink)
    graph.configure()
    for node, samples in zip(inputs, (picture, light)):
        frame = av.VideoFrame.from_ndarray(samples, format="gray")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        node.push(frame)
        node.push(None)
    theirs = sink.pull().to_ndarray() / 255
    ours = softlight(torch.from_numpy(picture / 255), torch.from_numpy(light / 255), 1.0).numpy()
    assert np.abs(theirs - ours).max() < 5 / 255  # FFmpeg rounds three times


def test_what_cannot_be_leaves_nothing(film, tmp_path, monkeypatch):
    out = tmp_path / "out.mkv"
    with pytest.raises(SourceError):
        degrade(tmp_path / "none.mkv", out, "dust")
    with pytest.raises(OutputError, match="source itself"):
        degrade(film, film, "dust")
    with pytest.raises(OptionError, match="no recipe 'dusty': choose from"):
        degrade(film, out, "dusty")
    with pytest.raises(OptionError, match="strength"):
        degrade(film, out, "dust", strength=-1)
    (tmp_path / "song.txt").write_text("la")
    with pytest.raises(SourceError, match="overlay"):
        degrade(film, out, "star-wars", overlay=tmp_path / "song.txt")

    def full(self, *args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Writer, "write", full)
    with pytest.raises(DiskFullError, match="no space left"):
        degrade(film, out, "dust")
    assert not out.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["song.txt"]


@pytest.mark.parametrize("recipe", ["dust", "heavy"])
def test_stopped_it_resumes_and_makes_the_same_film(tmp_path, monkeypatch, recipe):
    source = films.shots(tmp_path / "film.mkv", lengths=(14, 10), size=(64, 48))
    monkeypatch.setattr(whole, "PIECE", 6)
    whole.degrade(source, tmp_path / "whole.mkv", recipe, seed=3, encoding=Encoding("ffv1"))

    def stops(done: int, _total: int | None) -> None:
        if done == 15:
            raise KeyboardInterrupt

    out, scratch = tmp_path / "out.mkv", tmp_path / ".out.mkv.degrade"
    with pytest.raises(KeyboardInterrupt):
        whole.degrade(source, out, recipe, seed=3, encoding=Encoding("ffv1"), progress=stops)
    assert not out.exists()
    kept = {p.name: p.stat().st_mtime_ns for p in scratch.glob("*.piece")}
    assert list(kept) == ["00000000-00000006.piece", "00000006-00000012.piece"] or len(kept) == 2
    written = []
    monkeypatch.setattr(whole.Writer, "write", _counted(whole.Writer.write, written))
    whole.degrade(source, out, recipe, seed=3, encoding=Encoding("ffv1"))
    assert min(written) == 12, "what was finished is made again"
    assert not scratch.exists()
    with Reader(probe(tmp_path / "whole.mkv")) as one, Reader(probe(out)) as other:
        for a, b in zip(one, other, strict=True):
            assert [bytes(p) for p in a.planes.planes] == [bytes(p) for p in b.planes.planes]


def _counted(write, written: list[int]):
    def counting(self, frame, *rest):
        written.append(frame.n)
        return write(self, frame, *rest)

    return counting


def test_pieces_of_other_settings_are_not_taken(tmp_path):
    source = films.shots(tmp_path / "film.mkv", lengths=(8,), size=(64, 48))
    scratch = tmp_path / ".out.mkv.degrade"
    scratch.mkdir()
    (scratch / "key").write_text("another")
    (scratch / "00000000-00000008.piece").write_text("no film")
    whole.degrade(source, tmp_path / "out.mkv", "dust")
    assert not scratch.exists()
    with pytest.raises(OutputError, match="is there already"):
        whole.degrade(source, tmp_path / "out.mkv", "dust", force=False)
