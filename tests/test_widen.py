"""Widening: exact places, sides from other frames, seams, light, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch

from restore_utils.core.model import Film, Shot
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.testing import stream_of
from restore_utils.errors import OptionError
from restore_utils.jobs.restoration import restore_film
from restore_utils.jobs.settings import settings_for
from restore_utils.media.planes import arrays
from restore_utils.restorers.widen.camera import Camera, farthest
from restore_utils.restorers.widen.canvas import Canvas
from restore_utils.restorers.widen.draw import Drawer
from restore_utils.restorers.widen.geometry import Box, Geometry, parse_aspect, parse_trim, soft_edge
from restore_utils.restorers.widen.grain import Grain, made, measure
from restore_utils.restorers.widen.model import Widen
from restore_utils.restorers.widen.net import SideNet
from restore_utils.restorers.widen.seam import continued
from restore_utils.restorers.widen.store import Store
from tests.films import shots

HEIGHT, WIDTH, WIDE = 120, 160, 216


@pytest.fixture(scope="module")
def world() -> np.ndarray:
    """A scene with edges and texture at many sizes, float32 (200, 640, 3), [0, 1]."""
    rng = np.random.default_rng(5)
    scene = np.full((200, 640, 3), 0.45, np.float32)
    for _ in range(260):
        x, y, r = (int(v) for v in rng.integers((0, 0, 4), (640, 200, 26)))
        cv2.circle(scene, (x, y), r, rng.uniform(0.1, 0.9, 3).tolist(), -1, cv2.LINE_AA)
    noise = cv2.GaussianBlur(rng.normal(0, 1, scene.shape[:2]).astype(np.float32), (0, 0), 1.2)
    return np.clip(cv2.GaussianBlur(scene, (0, 0), 0.8) + 0.06 * noise[..., None], 0, 1)


def pan(world: np.ndarray, count: int, speed: float, light=lambda n: 1.0) -> np.ndarray:
    """A camera that pans over the scene and sees WIDE columns: (count, HEIGHT, WIDE, 3)."""
    frames = []
    for n in range(count):
        where = np.float32([[1, 0, 40 + speed * n], [0, 1, 30]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        frames.append(np.clip(cv2.warpAffine(world, where, (WIDE, HEIGHT), flags=flags) * light(n), 0, 1))
    return np.stack(frames)


def widened(wide: np.ndarray, start: int = 0, stop: int | None = None, **options) -> tuple[np.ndarray, np.ndarray]:
    """The centre of wide frames, widened again: pictures and masks as (N, H, W, ...)."""
    left = (wide.shape[2] - WIDTH) // 2
    centre = torch.from_numpy(wide[:, :, left : left + WIDTH].copy()).permute(0, 3, 1, 2).float()
    model = Widen(**({"aspect": f"{wide.shape[2]}:{HEIGHT}", "trim": "0"} | options))
    shots = [Shot(0, len(wide))]
    results = list(restore(stream_of(centre), [model], shots, start=start, stop=stop or len(wide), sizes=[RunSize(3)]))
    pictures = torch.cat([r.frames for r in results]).permute(0, 2, 3, 1).numpy()
    return pictures, torch.cat([r.mask for r in results])[:, 0].numpy()


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(a - b).mean()))


SIDES = np.r_[0 : (WIDE - WIDTH) // 2, (WIDE + WIDTH) // 2 : WIDE]
INSIDE = slice((WIDE - WIDTH) // 2, (WIDE + WIDTH) // 2)


@pytest.mark.parametrize(
    ("size", "pixel", "out"),
    [
        ((720, 540), Fraction(1), (960, 540)),
        ((640, 480), Fraction(1), (854, 480)),
        ((720, 576), Fraction(16, 15), (960, 576)),
        ((720, 480), Fraction(8, 9), (960, 480)),
        ((1440, 1080), Fraction(1), (1920, 1080)),
    ],
)
def test_4_to_3_becomes_16_to_9_at_any_pixel_aspect(size, pixel, out):
    geometry = Geometry(pixel_aspect=pixel)
    assert geometry.out_size(*size) == out
    left, top = geometry.offset(*size)
    assert left % 4 == 0
    assert top == 0
    assert abs(left - (out[0] - size[0]) / 2) <= 2
    assert abs(float(geometry.shown(*out)) * 9 / 16 - 1) < 0.002


def test_places_and_growing_in_height():
    assert Geometry(place="left").offset(720, 540) == (0, 0)
    assert Geometry(place="right").offset(720, 540) == (240, 0)
    tall = Geometry(Fraction(9, 16))
    assert tall.out_size(720, 540) == (720, 1280)
    assert tall.offset(720, 540) == (0, 368)


@pytest.mark.parametrize(
    ("aspect", "size", "border", "why"),
    [
        ("16:9", (1280, 720), (0, 0, 0, 0), "already"),
        ("16:9", (1920, 800), (0, 0, 0, 0), "narrower than the film"),
        ("16:9", (640, 480), (0, 60, 0, 60), "bars above and below"),
        ("16:9", (540, 960), (0, 0, 0, 0), "more made up than filmed"),
        ("4:3", (640, 480), (0, 0, 0, 0), "already"),
    ],
)
def test_films_that_cannot_be_widened_are_refused_in_one_line(aspect, size, border, why):
    said = Geometry(parse_aspect(aspect)).refusal(*size, border)
    assert why in said
    assert "\n" not in said


def test_bars_at_the_sides_of_a_wide_frame_are_what_is_filled():
    geometry = Geometry()
    assert geometry.refusal(1280, 720, (160, 0, 160, 0)) is None
    assert geometry.known(1280, 720, (158, 0, 161, 0), 0) == Box(160, 0, 1116, 720)


def test_what_no_option_can_be():
    for text in ("wide", "16:0", "9"):
        with pytest.raises(OptionError, match="aspect"):
            parse_aspect(text)
    for text in ("-3", "much", "900"):
        with pytest.raises(OptionError, match="trim"):
            parse_trim(text)
    with pytest.raises(OptionError, match="bars"):
        Widen(bars="2+x")
    assert Widen(bars="2+5-7").bars == {2, 5, 6, 7}


def test_torn_edges_are_found_and_dark_things_are_not():
    pictures = np.full((3, 100, 200), 120.0)
    pictures[:, :, :5] = 20
    assert soft_edge(pictures, across=True) == 6
    pictures[:, :, :60] = 20
    assert soft_edge(pictures, across=True) == 0


def test_camera_of_a_pan_is_found_to_a_tenth_of_a_pixel_and_rest_does_not_drift(world):
    grays = np.ascontiguousarray((pan(world, 24, 2.5)[:, :, INSIDE, 1] * 255).astype(np.uint8))
    camera = Camera()
    for gray in [*grays, *[grays[-1]] * 40]:
        camera.add(gray)
    along = np.eye(3)
    for link in camera.links:
        along = link @ along
    place = camera.places[23]
    assert place.key == len(camera.links)
    moved = (place.homography @ along) @ np.array([WIDTH / 2, HEIGHT / 2, 1])
    assert abs(moved[0] / moved[2] - WIDTH / 2 + 2.5 * 23) < 0.5
    assert farthest(camera.places[-1].homography @ np.linalg.inv(place.homography), WIDTH, HEIGHT) < 0.05


def test_a_pan_gets_back_what_other_frames_saw(world):
    wide = pan(world, 30, 3.0)
    found, masks = widened(wide)
    soft, _ = widened(wide, sides="ambient")
    assert np.array_equal(found[:, :, INSIDE], wide[:, :, INSIDE].astype(np.float32))
    assert not masks[:, :, INSIDE].any()
    assert masks[:, :, SIDES].all()
    middle = slice(12, 18)
    assert psnr(found[middle][:, :, SIDES], wide[middle][:, :, SIDES]) > 26
    assert psnr(found[:, :, SIDES], wide[:, :, SIDES]) > psnr(soft[:, :, SIDES], wide[:, :, SIDES]) + 4


def test_what_is_recovered_follows_flicker(world):
    wide = pan(world, 24, 3.0, light=lambda n: 1 + 0.12 * (-1) ** n)
    found, _ = widened(wide)
    middle = slice(10, 16)
    ratio = found[middle][:, :, SIDES].mean((1, 2, 3)) / wide[middle][:, :, SIDES].mean((1, 2, 3))
    assert np.abs(ratio - ratio.mean()).max() < 0.03  # of a flicker of 0.24


def test_the_seam_is_not_to_be_seen(world):
    found, _ = widened(pan(world, 16, 2.0))
    slopes = np.abs(np.diff(found, axis=2)).mean((0, 1, 3))
    for seam, beside in ((INSIDE.start - 1, INSIDE.start + 7), (INSIDE.stop - 1, INSIDE.stop - 9)):
        assert 0.6 < slopes[seam] / slopes[beside - 4 : beside + 4].mean() < 1.7


def test_sides_of_a_resting_camera_rest_while_somebody_walks(world):
    wide = np.repeat(pan(world, 1, 0), 12, axis=0)
    for n in range(12):
        cv2.rectangle(wide[n], (60 + 6 * n, 40), (76 + 6 * n, 110), (0.9, 0.2, 0.2), -1)
    found, _ = widened(wide)
    away = SIDES[np.abs(SIDES - WIDE / 2) > WIDTH / 2 + 6]
    steps = np.abs(np.diff(found[:, :, away], axis=0))
    assert steps.mean() < 0.002
    assert steps.max() < 0.04


def test_texture_goes_on_beside_the_picture_and_a_title_does_not():
    """What was not seen has the picture's fine structure near the seam; letters at the edge are not mirrored."""
    texture = cv2.GaussianBlur(np.random.default_rng(8).random((200, 640, 3), np.float32), (0, 0), 1.5)
    wide = np.repeat(pan(np.clip((texture - 0.5) * 2 + 0.4, 0, 1), 1, 0), 3, axis=0)
    titled = wide.copy()
    titled[:, 50:70, INSIDE.start + 5 : INSIDE.start + 7] = 1
    plain, lettered = (widened(frames)[0][1, :, : INSIDE.start + 14] for frames in (wide, titled))
    beside, inside = plain[:, INSIDE.start - 6 : INSIDE.start], plain[:, INSIDE.start + 8 :]
    rough = [np.abs(np.diff(part, axis=0)).mean() for part in (beside, inside)]
    assert 0.35 < rough[0] / rough[1] < 1.3
    mirrored = (lettered - plain)[52:68, INSIDE.start - 7 : INSIDE.start - 5]
    assert np.abs(mirrored).mean() < 0.25 * 0.6  # of the 0.6 by which the letter stands out


def test_a_cut_that_was_missed_is_told(world):
    """The camera's path begins anew, and neither scene lends the other its sides."""
    other = cv2.GaussianBlur(np.random.default_rng(8).random(world.shape, np.float32), (0, 0), 2)
    wide = np.concatenate((pan(world, 8, 2.0), pan(np.clip((other - 0.5) * 6 + 0.5, 0, 1), 8, 2.0)))
    left = (WIDE - WIDTH) // 2
    centre = torch.from_numpy(wide[:, :, left : left + WIDTH].copy()).permute(0, 3, 1, 2).float()
    model = Widen(aspect=f"{WIDE}:{HEIGHT}", trim="0")
    state = model.open(Shot(0, 16, {}, stream_of(centre)))
    assert sum(link is None for link in state.links) == 1
    assert any("cuts that were missed" in line for line in model.notes(state))


def test_the_film_of_origins_has_a_colour_for_each(world):
    """Green where other frames saw it, grey where it is the picture itself; the picture keeps its own colours."""
    wide = pan(world, 24, 3.0).mean(-1, keepdims=True).repeat(3, -1)
    found, _ = widened(wide, show="origins")
    assert np.array_equal(found[:, :, INSIDE], wide[:, :, INSIDE].astype(np.float32))
    red, green, _ = np.moveaxis(found[12][:, SIDES], -1, 0)
    assert (green - red > 0.2).mean() > 0.3  # recovered
    still, _ = widened(np.repeat(wide[:1], 3, axis=0), show="origins")
    assert np.ptp(still[1][:, SIDES], axis=-1).max() < 0.02  # ambient


def test_growing_in_height_recovers_what_a_tilt_saw(world):
    turned = pan(world, 24, 3.0).swapaxes(1, 2)  # (N, 216, 120, 3): a tilt
    middle = torch.from_numpy(turned[:, 28:188].copy()).permute(0, 3, 1, 2)
    model = Widen(aspect="120:216", trim="0")
    results = restore(stream_of(middle), [model], [Shot(0, 24)], start=0, stop=24)
    found = torch.cat([r.frames for r in results]).permute(0, 2, 3, 1).numpy()
    assert found.shape == turned.shape
    assert np.array_equal(found[:, 28:188], turned[:, 28:188].astype(np.float32))
    assert psnr(found[10:14, SIDES], turned[10:14, SIDES]) > 22


def test_results_do_not_depend_on_where_a_run_begins(world):
    wide = pan(world, 14, 3.0)
    whole, _ = widened(wide)
    part, _ = widened(wide, start=7, stop=11)
    assert np.array_equal(part, whole[7:11])


def test_one_frame_bars_and_grey(world):
    wide = pan(world, 1, 0).mean(-1, keepdims=True).repeat(3, -1)
    found, _ = widened(wide)
    assert np.abs(found - found.mean(-1, keepdims=True)).max() < 1e-4
    black, _ = widened(wide, sides="bars")
    assert not black[:, :, SIDES].any()


def test_origins_are_told(world):
    wide = pan(world, 30, 3.0)
    left = (WIDE - WIDTH) // 2
    centre = torch.from_numpy(wide[:, :, left : left + WIDTH].copy()).permute(0, 3, 1, 2).float()
    model = Widen(aspect=f"{WIDE}:{HEIGHT}", trim="0")
    state = model.open(Shot(0, 30, {}, stream_of(centre)))
    shares = state.shares()
    assert abs(sum(shares.values()) - 1) < 0.01
    assert shares["recovered"] > 0.4
    assert shares["drawn"] == 0
    assert model.notes(state)[0].startswith("sides: ")


def test_grain_is_measured_and_made_alike():
    for grain in (Grain(4.0, 0.0), Grain(6.0, 0.6)):
        again = measure(128 + made((240, 320), grain, (1,)))
        assert abs(again.strength / grain.strength - 1) < 0.25
        assert abs(again.alike - grain.alike) < 0.2
    assert measure(np.full((64, 64), 90.0)).strength < 0.01


def test_a_difference_fades_from_the_seam():
    fine = np.tile([[10.0], [-10.0]], (32, 3)).astype(np.float32)
    field = continued(fine, 60, 20.0)
    assert np.abs(field[:, 0]).max() > 6
    assert np.abs(field[:, 20]).max() < 0.3
    assert continued(np.full((64, 3), 10.0), 60, 20.0)[30, 20, 0] == pytest.approx(10 * np.exp(-21 / 20), rel=0.01)


def test_pictures_come_back_from_the_disk():
    rng = np.random.default_rng(1)
    entries = [[rng.integers(0, 255, (20, 30, 3), np.uint8), rng.integers(0, 255, (9, 7), np.uint8)] for _ in range(9)]
    store = Store()
    for entry in entries:
        store.append(entry)
    for kept in (store, Store.of(**store.arrays())):
        for number in (8, 0, 4, 8):
            assert all(np.array_equal(a, b) for a, b in zip(kept[number], entries[number], strict=True))


def test_canvas_holds_the_sides_with_a_margin():
    canvas = Canvas.of((216, 120), Box(28, 0, 188, 120))
    assert canvas.known == (160, 120)
    assert canvas.before == canvas.after == 28
    assert canvas.box.width == 160
    assert len(canvas.strips) == 2
    assert len(Canvas.of((216, 120), Box(0, 0, 160, 120)).strips) == 1


def old(path, picture, pixel_format="yuv420p") -> str:
    """Six frames of 96x72, pixels of 16:15: `picture(n)` gives each as uint8 (72, 96)."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 96, 72, pixel_format
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        for n in range(6):
            frame = av.VideoFrame.from_ndarray(picture(n), format="gray").reformat(format=pixel_format)
            frame.pts, frame.time_base = n, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


def planes_in_place(source, out, kinds=("luma", "chroma")):
    """The source's planes and those that lie in their place in the result, frame by frame."""
    left, top = Geometry(pixel_aspect=Fraction(16, 15)).offset(96, 72)
    frames = [list(av.open(path).decode(video=0)) for path in (source, out)]
    assert len(frames[0]) == len(frames[1]) == 6
    for before, after in zip(*frames, strict=True):
        assert (after.width, after.height) == Geometry(pixel_aspect=Fraction(16, 15)).out_size(96, 72)
        for k, (own, result) in enumerate(zip(arrays(before), arrays(after), strict=False)):
            x, y = (left, top) if k == 0 else (left // 2, top // 2)
            if ("luma", "chroma")[k > 0] in kinds:
                yield own, result[y : y + own.shape[0], x : x + own.shape[1]]


@pytest.mark.parametrize(
    "chain", [("widen:sides=recover",), ("widen:sides=bars",), ("widen:sides=ambient", "deflicker")]
)
def test_the_source_lies_in_the_result_bit_for_bit(tmp_path, chain):
    rng = np.random.default_rng(3)
    source = old(tmp_path / "old.mkv", lambda n: rng.integers(16, 235, (72, 96), np.uint8))
    out = tmp_path / "wide.mkv"
    specs = [f"{spec},trim=0" if spec.startswith("widen") else f"{spec}:strength=0" for spec in chain]
    restore_film(source, out, settings_for(out, model=specs, codec="ffv1"))
    assert "sides: " in (tmp_path / "wide.mkv.html").read_text()
    assert all(np.array_equal(own, result) for own, result in planes_in_place(source, out))


@pytest.mark.parametrize("other", ["old-film", "color"])
@pytest.mark.parametrize("first", [True, False])
def test_a_chain_in_either_order_leaves_what_it_need_not_change(tmp_path, world, other, first):
    """One frame has a spot for old-film; luma is not what color paints."""
    scene = np.clip(world[30:102, 40:136].mean(-1) * 200 + 20, 16, 235).astype(np.uint8)

    def picture(n):
        frame = scene.copy()
        if n == 3 and other == "old-film":
            cv2.circle(frame, (48, 36), 3, 235, -1)
        return frame

    source, out = old(tmp_path / "old.mkv", picture), tmp_path / "wide.mkv"
    widen = "widen:sides=recover,trim=0"
    settings = settings_for(out, model=[other, widen] if first else [widen, other], codec="ffv1")
    restore_film(source, out, settings)
    pairs = list(planes_in_place(source, out, ("luma",)))
    off = np.array([own != result for own, result in pairs])
    if other == "color":
        assert not off.any()
    else:
        assert off[3, 34:39, 46:51].all()  # the spot is gone
        off[3, 24:49, 36:61] = False
        assert not off.any()


def test_a_film_that_is_wide_already_is_refused(tmp_path):
    source = shots(tmp_path / "wide.mp4", (6,), (128, 72))
    out = tmp_path / "wider.mkv"
    with pytest.raises(OptionError, match="already"):
        restore_film(str(source), out, settings_for(out, model="widen:sides=recover"))
    assert not out.exists()


def test_a_state_survives_being_kept(world):
    wide = pan(world, 12, 3.0)
    left = (WIDE - WIDTH) // 2
    centre = torch.from_numpy(wide[:, :, left : left + WIDTH].copy()).permute(0, 3, 1, 2).float()
    model = Widen(aspect=f"{WIDE}:{HEIGHT}", trim="0")
    state = model.open(Shot(0, 12, {}, stream_of(centre)))
    again = model.load_state(model.save_state(state))
    one, other = (model(centre[5:6], 5, 5, 6, s).frames for s in (state, again))
    assert torch.equal(one, other)
    assert model.notes(again) == model.notes(state)


def test_the_network_draws_what_nobody_filmed(world):
    torch.manual_seed(0)
    net = SideNet((8, 8, 8, 8, 8))
    torch.nn.init.normal_(net.out.bias, 0.2, 0.01)
    wide = pan(world, 3, 0)
    drawn, _ = widened(wide, drawer=Drawer(net, torch.device("cpu")))
    soft, _ = widened(wide, sides="recover")
    assert np.abs(drawn[:, :, SIDES] - soft[:, :, SIDES]).mean() > 0.02
    assert np.array_equal(drawn[:, :, INSIDE], soft[:, :, INSIDE])


def test_another_shot_of_the_set_lends_its_sides(world):
    """A locked-off shot, and one of the same set that was framed further to the left and to the right."""
    here, left, right = (pan(world[:, k:], 4, 0.0) for k in (60, 30, 90))
    inside = slice((WIDE - WIDTH) // 2, (WIDE + WIDTH) // 2)
    centres = torch.from_numpy(np.concatenate((here, left, right))[:, :, inside].copy()).permute(0, 3, 1, 2).float()
    stats = {"luma_percentiles": np.full((4, 9), 0.5, np.float32)}
    film = Film([Shot(n, n + 4, stats) for n in (0, 4, 8)], stream_of(centres))
    model = Widen(aspect=f"{WIDE}:{HEIGHT}", trim="0")
    state = model.open(film.shots[0])
    shares = state.shares()
    assert shares["recovered"] == 0
    assert shares["lent"] > 0.4
    alone = model.open(Shot(0, 4, stats, stream_of(centres)))
    pictures = (model(centres[:1], 0, 0, 1, s).frames[0].permute(1, 2, 0).numpy() for s in (state, alone))
    lent, unlent = (psnr(picture[:, SIDES], here[0][:, SIDES]) for picture in pictures)
    assert lent > unlent + 4
