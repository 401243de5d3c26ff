"""The film restorers: what they find and repair, what they leave alone, and how they are trained."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file

from restore_utils import damage, settings_for
from restore_utils.core import testing as contract
from restore_utils.core.model import Film, Shot
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.testing import stream_of
from restore_utils.core.wrappers import RenderSize
from restore_utils.damage import recipes
from restore_utils.errors import ModelError, OptionError
from restore_utils.jobs import job
from restore_utils.restorers.film import grain
from restore_utils.restorers.film import model as film
from restore_utils.restorers.film.align import Window, choose, relit, sides, view, window
from restore_utils.restorers.film.judge import FEATURES, Judge, candidates, features
from restore_utils.restorers.film.mask import GivenMask
from restore_utils.restorers.film.network import FilmNet, _add_rows, _folded
from restore_utils.restorers.film.spots import Choice
from restore_utils.restorers.film.spots import damage as damage_of
from tests import films

SHIPPED = Path(__file__).parents[1] / "models" / "film-small.safetensors"


def moving(count: int, width: int = 224, height: int = 160, speed: tuple[float, float] = (2.3, 0.7)) -> torch.Tensor:
    """A textured picture that pans, (count, 3, height, width)."""
    rng = np.random.default_rng(5)
    big = sum(
        cv2.resize(
            rng.random((height // s + 8, width // s + 8, 3), np.float32), (2 * width, 2 * height), interpolation=2
        )
        / n
        for n, s in ((2, 16), (4, 6))
    )
    frames = []
    for t in range(count):
        shift = np.float32([[1, 0, -20 - speed[0] * t], [0, 1, -20 - speed[1] * t]])
        frames.append(cv2.warpAffine(big, shift, (width, height), flags=cv2.INTER_CUBIC))
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).clamp(0, 1)


def run(model, frames: torch.Tensor, duplicate=None, length: int = 8, **stats):
    shot = Shot(0, len(frames), stats | ({} if duplicate is None else {"duplicate": np.array(duplicate, bool)}))
    sizes = [RunSize(length)]
    results = list(
        restore(lambda a, b: (f for f in frames[a:b]), [model], [shot], start=0, stop=len(frames), sizes=sizes)
    )
    return torch.cat([r.frames for r in results]), torch.cat([r.mask for r in results])


def psnr(error: torch.Tensor, where: torch.Tensor) -> float:
    return -10 * torch.log10(error.square().mean(1, keepdim=True)[where].mean()).item()


@pytest.fixture(scope="module")
def small() -> film.Film:
    return film.load(SHIPPED)


@pytest.fixture(scope="module")
def spotted() -> tuple[torch.Tensor, torch.Tensor]:
    """A clip with a bright and a dark spot in frame 3 alone, and the same without."""
    clean = moving(6)
    dirty = clean.clone()
    dirty[3, :, 40:46, 60:66] = 0.95
    dirty[3, :, 100:104, 150:153] = 0.02
    return dirty, clean


def test_shipped_file_repairs_damage_and_leaves_the_rest_alone(small):
    clean = moving(8, 320, 256)
    recipe = recipes.load("dust").only("dust", "blotch").plus("dust", rate=(60, 80), opacity=(0.7, 1.0))
    plan = damage.plan(np.random.default_rng(3), len(clean), (320, 256), recipe, frame=(640, 480))
    made = damage.apply(clean, plan, 0)
    frames, mask = run(small, made.damaged)
    hurt = (made.damaged - made.target).abs().amax(1, keepdim=True) > 0.04
    whole = made.mask.amax(1, keepdim=True) == 0
    gain = psnr(frames - made.target, hurt) - psnr(made.damaged - made.target, hurt)
    assert gain > 8
    assert (mask > 0.5)[hurt].float().mean() > 0.7
    assert (mask > 0)[whole].float().mean() < 0.02
    assert torch.equal(frames.movedim(1, -1)[mask[:, 0] == 0], made.damaged.movedim(1, -1)[mask[:, 0] == 0])


def test_clean_footage_comes_back_as_it_was(small):
    clean = moving(6)
    frames, mask = run(small, clean)
    assert (mask > 0).float().mean() < 0.001
    assert (frames - clean).square().mean() < 10**-4.5


def test_shipped_file_keeps_the_contract_and_describes_itself(small):
    contract.check_model(small)
    with safe_open(SHIPPED, "pt") as file:
        says = file.metadata()
    assert json.loads(says["dims"])["widths"]
    assert {"licence", "origin", "range", "steps"} <= says.keys()
    assert SHIPPED.stat().st_size < 16 << 20


def test_strength(small, spotted):
    dirty, _ = spotted
    whole, mask = run(small, dirty)
    half, half_mask = run(film.load(SHIPPED, strength=0.5), dirty)
    none, none_mask = run(film.load(SHIPPED, strength=0.0), dirty)
    assert mask[3, 0, 42, 62] > 0.5
    assert torch.equal(none, dirty)
    assert not none_mask.any()
    torch.testing.assert_close(half_mask, mask / 2)
    torch.testing.assert_close(half - dirty, (whole - dirty) / 2, atol=2e-3, rtol=0)


def test_spots_of_one_frame_are_gone_and_neighbours_untouched(small, spotted):
    dirty, clean = spotted
    frames, mask = run(small, dirty)
    for y, x in ((43, 63), (102, 151)):
        assert (frames[3, :, y, x] - clean[3, :, y, x]).abs().max() < 0.08
        assert mask[3, 0, y, x] > 0.5
        assert not mask[[0, 1, 2, 4, 5], 0, y, x].any()


def test_grey_stays_grey(small, spotted):
    grey = spotted[0].mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
    frames, mask = run(small, grey)
    assert mask.any()
    assert torch.equal(frames[:, 0], frames[:, 1])
    assert torch.equal(frames[:, 0], frames[:, 2])


def apart_window(apart: np.ndarray) -> Window:
    """A window in which the frame is that far apart (H, W) from all its neighbours; the noise is 0.03."""
    planes = np.zeros((9, *apart.shape), np.float32)
    planes[3:9] = apart
    evidence = np.zeros((10, (apart.shape[0] + 1) // 2, (apart.shape[1] + 1) // 2), np.float32)
    evidence[3] = 1 + np.log(0.03) / 2
    return Window(planes, np.ones(4, np.float32), evidence, np.zeros((9, 1, apart.shape[1])), [], [])


def unjudged(chance: np.ndarray, apart: np.ndarray, choice: Choice = Choice()) -> np.ndarray:  # noqa: B008 frozen
    """The mask of FilmNet's own spots."""
    chance = np.clip(chance, 0.01, 0.99)
    lines = np.zeros((1, chance.shape[1]), np.float32)
    return damage_of(np.log(chance / (1 - chance)), lines, apart_window(apart), Judge({}), choice).mask


def test_the_rim_of_damage_goes_with_it_where_it_shows():
    chance, apart = np.zeros((9, 9), np.float32), np.zeros((9, 9), np.float32)
    chance[3:6, 3:6] = 1
    apart[3:6, 3:7] = 0.05  # smeared to the right
    mask = unjudged(chance, apart)
    assert (mask[3:6, 3:6] == 1).all()
    assert (mask[3:6, 6] > 0.5).all()
    mask[3:6, 3:7] = 0
    assert not mask.any()


def test_the_dial_chooses_spots_by_certainty_size_and_polarity(spotted):
    chance, apart = np.zeros((160, 224), np.float32), np.zeros((160, 224), np.float32)
    for (y, x, side), value, way in (((20, 20, 3), 0.6, -1), ((60, 60, 40), 0.6, -1), ((120, 180, 6), 0.9, 1)):
        chance[y : y + side, x : x + side], apart[y : y + side, x : x + side] = value, 0.2 * way

    def left(choice: Choice) -> list[bool]:
        mask = unjudged(chance, apart, choice)
        return [bool(mask[y, x]) for y, x in ((21, 21), (80, 80), (122, 182))]

    assert left(Choice()) == [True, False, True]
    assert left(Choice(sensitivity=1.0)) == [True, True, True]
    assert left(Choice(sensitivity=0.0)) == [False, False, True]
    assert left(Choice(polarity="bright")) == [False, False, True]
    assert left(Choice(polarity="dark")) == [True, False, False]
    assert left(Choice(smallest=0.03)) == [False, False, True]
    assert left(Choice(largest=0.03)) == [True, False, False]
    levels = np.array(
        [Choice(sensitivity=s).threshold(Judge({}), np.array([9, 5000])) for s in (0, 0.25, 0.5, 0.75, 1)]
    )
    assert (np.diff(levels, axis=0) <= 0).all()
    assert (levels[:, 1] >= levels[:, 0]).all()
    assert levels[2, 1] == levels[0, 0], "a large spot has to be surer"
    for wrong in ({"sensitivity": 2.0}, {"smallest": 0.5, "largest": 0.1}, {"polarity": "grey"}):
        with pytest.raises(OptionError):
            Choice(**wrong)
    damaged = spotted[0].clone()
    for k in range(8):  # ever fainter
        damaged[3, :, 20 : 20 + 4, 20 + 20 * k : 24 + 20 * k] += 0.16 / (k + 1)
    cautious, thorough = (run(film.load(SHIPPED, sensitivity=s), damaged)[1] > 0 for s in (0.0, 1.0))
    assert cautious.sum() < thorough.sum()
    assert not (cautious & ~thorough).any()


def test_spots_are_what_the_network_sees_and_what_stands_out_of_both_neighbours():
    chance, apart = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    chance[4:8, 4:8] = 1
    apart[20:24, 20:24], apart[20:24, 24:28] = 0.3, -0.3  # a bright one beside a dark one
    apart[40:44, 40:44] = 0.1  # fainter
    made = apart_window(apart)
    spots = candidates(chance, made)
    assert (spots.count, spots.seen) == (3, 1)
    assert spots.labels[5, 5] == 1
    assert {spots.labels[21, 21], spots.labels[21, 25]} == {2, 3}
    assert list(spots.areas[1:]) == [16, 16, 16]
    assert not spots.labels[40:44, 40:44].any()
    one_sided = made._replace(valid=np.array([0, 0, 1, 1], np.float32))
    assert candidates(chance, one_sided).count == 1, "what is uncovered stands out of one side as well"


def test_what_moves_is_found_beside_its_place_and_dust_is_not():
    def known(shown: int) -> np.ndarray:
        """Features of a square that stands so far to the left in the frame before, to the right in the one after."""
        frames = np.full((3, 96, 128), 0.4, np.float32)
        frames[1, 40:48, 60:68] = 0.8
        if shown:
            frames[0, 40:48, 60 - shown : 68 - shown] = frames[2, 40:48, 60 + shown : 68 + shown] = 0.8
        made = apart_window(np.zeros((96, 128), np.float32))
        planes = made.planes
        planes[0], planes[3:5], planes[5:7] = (
            2 * frames[1] - 1,
            6 * (frames[1] - frames[0]),
            6 * (frames[1] - frames[2]),
        )
        planes[7:9] = np.where(planes[3] * planes[5] > 0, planes[3], 0)
        spots = candidates(np.zeros((96, 128), np.float32), made)
        out = features(spots, np.full((96, 128), -4, np.float32), np.zeros((6, 128), np.float32), made)
        assert out.shape == (1, FEATURES)
        assert np.isfinite(out).all()
        return out[0, -3:]

    assert (known(10) > 0.9).all()
    assert (known(0) < 0.1).all()


def test_repeated_frames_are_not_taken_for_neighbours(small, spotted):
    dirty, clean = spotted
    order = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    frames, mask = run(small, dirty[order], [i > 0 and a == order[i - 1] for i, a in enumerate(order)])
    for n in (6, 7):
        assert mask[n, 0, 43, 63] > 0.5
        assert (frames[n, :, 43, 63] - clean[3, :, 43, 63]).abs().max() < 0.08


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", ["picture", "black", "noise", "tiny"])
def test_odd_clips(small, count, kind):
    frames = {
        "picture": moving(count),
        "black": torch.zeros(count, 3, 64, 64),
        "noise": torch.rand(count, 3, 64, 96, generator=torch.Generator().manual_seed(0)),
        "tiny": moving(count)[..., :9, :13],
    }[kind]
    result, mask = run(small, frames)
    assert result.shape == frames.shape
    assert torch.isfinite(result).all()
    assert mask.shape == (count, 1, *frames.shape[-2:])
    if kind == "black":
        assert not mask.any()


def test_outside_of_the_gate_nothing_is_touched(small, spotted):
    border = np.tile([100, 10, 0, 70], (6, 1))  # left, top, right, bottom: both spots lie in it
    _, mask = run(small, spotted[0], border=border)
    assert not mask[..., :10, :].any()
    assert not mask[..., :100].any()
    assert not mask[..., 90:, :].any()


def test_a_persons_mask(small, spotted, tmp_path):
    dirty, clean = spotted
    mask = np.full(dirty.shape[-2:], 128, np.uint8)
    mask[30:60, 50:80] = 0  # never touch the bright spot
    mask[10:14, 20:24] = 255  # repair what the network would not
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    result, found = run(film.load(SHIPPED, mask=str(tmp_path / "mask.png")), dirty)
    assert torch.equal(result[3, :, 30:60, 50:80], dirty[3, :, 30:60, 50:80])
    assert not found[:, :, 30:60, 50:80].any()
    assert (found[:, 0, 10:14, 20:24] == 1).all()
    assert (result[3, :, 10:14, 20:24] - clean[3, :, 10:14, 20:24]).abs().max() < 0.1
    assert found[3, 0, 102, 151] > 0.5


def test_masks_and_borders_lie_right_on_sizes_that_are_padded(small, spotted, tmp_path):
    dirty = spotted[0][..., :105, :213]
    mask = np.full(dirty.shape[-2:], 128, np.uint8)
    mask[95:103, 200:211] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    _, found = run(film.load(SHIPPED, mask=str(tmp_path / "mask.png")), dirty)
    assert ((found == 1).all(1) == torch.from_numpy(mask == 255))[:, 90:, 190:].all()
    _, found = run(small, dirty, border=np.array([0, 0, 0, 6]))  # the dark spot reaches into the border
    assert not found[..., 99:, :].any()
    assert found[3].any()


def test_a_persons_mask_fills_a_single_frame_from_around(spotted, tmp_path):
    dirty, clean = spotted
    mask = np.full(dirty.shape[-2:], 128, np.uint8)
    mask[38:48, 58:68] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    result, _ = run(film.load(SHIPPED, mask=str(tmp_path / "mask.png")), dirty[3:4])
    before, after = ((f - clean[3])[:, 38:48, 58:68].square().mean() for f in (dirty[3], result[0]))
    assert after < 0.1 * before


def test_a_frame_may_be_repaired_whole(tmp_path):
    clean = moving(3, 320, 240)
    cv2.imwrite(str(tmp_path / "mask.png"), np.full((240, 320), 255, np.uint8))
    result, found = run(film.load(SHIPPED, mask=str(tmp_path / "mask.png"), grain=0.0), clean)
    assert (found == 1).all()
    assert psnr((result - clean)[:, :, 16:-16, 16:-16], torch.ones(3, 1, 208, 288, dtype=torch.bool)) > 28


def test_a_persons_mask_may_be_a_clip(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "mask.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for n in range(4):
        writer.write(np.full((48, 64, 3), 255 if n == 2 else 128, np.uint8))
    writer.release()
    given = GivenMask(tmp_path / "mask.avi")
    assert [bool(given(n, 32, 24)[0].all()) for n in (0, 2, 1, 3)] == [False, True, False, False]
    with pytest.raises(OptionError, match="no frame 4"):
        given(4, 32, 24)
    with pytest.raises(OptionError, match="no mask at"):
        GivenMask(tmp_path / "none.png")


def test_a_mask_may_be_grey_coloured_deep_or_transparent(tmp_path):
    values = np.array([[0, 128, 255, 20]] * 4, np.uint8)
    clear = np.dstack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8)])
    clear[:, 1:3, 3] = 0  # nothing is painted there
    clear[:, 2] = 255
    pictures = {
        "grey": values,
        "colour": cv2.merge([values] * 3),
        "deep": values.astype(np.uint16) * 257,
        "transparent": clear,
    }
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
        repair, never = GivenMask(tmp_path / f"{name}.png")(7, 8, 8)
        assert repair[0].tolist() == [False] * 4 + [True] * 2 + [False] * 2, name
        assert never[0].tolist() == [True] * 2 + [False] * 4 + [True] * 2, name
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.mp4").write_text("no film")
    for name in ("text.png", "text.mp4"):
        with pytest.raises(OptionError, match="cannot be read"):
            GivenMask(tmp_path / name)


@pytest.fixture
def clip(tmp_path) -> Path:
    return films.shots(tmp_path / "film.mkv", lengths=(8,), size=(96, 64))


def test_a_mask_belongs_to_the_pieces_that_are_made_with_it(clip, tmp_path):
    mask = tmp_path / "mask.png"
    names = []
    with job.open_job(clip, tmp_path / "job") as film_job:
        for picture in (None, np.full((64, 96), 128, np.uint8), np.zeros((64, 96), np.uint8)):
            if picture is not None:
                cv2.imwrite(str(mask), picture)
            settings = settings_for("out.mkv", model="film-small", mask_in=None if picture is None else mask)
            names.append(film_job.plan(settings).segments[0].name)
        again = film_job.plan(settings).segments[0].name
    assert len(set(names)) == 3
    assert again == names[-1]


def test_a_clip_of_masks_goes_with_the_film_also_from_its_middle_on(clip, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "mask.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 24, (48, 32))
    for n in range(8):
        writer.write(np.full((32, 48, 3), 255 if n == 6 else 0, np.uint8))
    writer.release()
    with job.open_job(clip, tmp_path / "job") as film_job:
        for start in ("", "0.2"):
            plan = film_job.plan(
                settings_for("out.mkv", model="deflicker + film-small", start=start, mask_in=tmp_path / "mask.avi")
            )
            given = [film_job.frame(plan, n)[2] for n in (5, 6)]
            assert not given[0].any()
            assert (given[1] == 1).all()
    longer = films.shots(tmp_path / "longer.mkv", lengths=(10,), size=(96, 64))
    with job.open_job(longer, tmp_path / "other") as film_job:
        short = {"model": "film-small", "mask_in": tmp_path / "mask.avi"}
        with pytest.raises(OptionError, match="has 8 frames and 10 are needed"):
            film_job.plan(settings_for("out.mkv", **short))
        film_job.plan(settings_for("out.mkv", stop="0.3", **short))
        with pytest.raises(OptionError, match=r"no model here takes mask=.*: leave it out, or add one that does: "):
            film_job.plan(settings_for("out.mkv", model="median", mask_in=tmp_path / "mask.avi"))


def test_neighbours_fill_both_sides_nearest_first():
    assert choose("ba", "cd") == ["a", "b", "c", "d"]
    assert choose("", "1234") == ["4", "2", "1", "3"]
    assert choose("p", "123") == ["3", "p", "1", "2"]
    assert choose("pqrs", "n") == ["q", "p", "n", "r"]
    assert choose("", "1") == [None, None, "1", None]
    assert choose("", "") == [None] * 4
    assert sides([-2, -1, 1, 2]).tolist() == [1, 1, 1, 1]
    assert sides([4, 2, 1, 0]).tolist() == pytest.approx([-0.3, -0.3, 1, 0])


def test_alignment_follows_motion_and_light():
    frames = moving(5, speed=(6.0, -3.0)).permute(0, 2, 3, 1).numpy()
    frames[1] *= 0.8
    views = [view(np.ascontiguousarray(f)) for f in frames]
    made = window(views[2], [views[0], views[1], views[3], views[4]], [-2, -1, 1, 2])
    inner = np.abs(made.planes[3:7, 24:-24, 24:-24] / 6).mean((1, 2))
    assert inner.max() < 0.02
    assert np.abs(frames[2] - frames[3])[24:-24, 24:-24].mean() > 0.04


def test_grain_is_measured_and_made_alike():
    rng = np.random.default_rng(0)
    noise = [cv2.GaussianBlur(rng.standard_normal((256, 256)).astype(np.float32), (0, 0), 0.7) for _ in range(2)]
    noise = [n / n.std() * 0.03 for n in noise]
    differences = np.stack([noise[0] - noise[1] * 0.74])  # 0.74^2: what interpolation leaves
    sigma, correlation = grain.measure(differences, np.zeros((256, 256)))
    made = grain.grain(7, sigma, correlation, 256, 256)
    assert made.std() == pytest.approx(0.03, rel=0.15)
    along = [(n[:, 1:] * n[:, :-1]).mean() / (n * n).mean() for n in (made, noise[0])]
    assert along[0] == pytest.approx(along[1], abs=0.1)
    assert np.array_equal(made, grain.grain(7, sigma, correlation, 256, 256))
    assert grain.grain(7, sigma * 0, correlation, 256, 256) is None


def test_a_large_blotch_is_neither_taken_for_flicker_nor_for_grain():
    rng = np.random.default_rng(1)
    frames = 0.6 + 0.01 * rng.standard_normal((5, 192, 256, 1)).astype(np.float32) * np.ones(3, np.float32)
    blotch = np.zeros((192, 256), np.float32)
    cv2.ellipse(blotch, (128, 96), (45, 60), 0, 0, 360, 1.0, -1)
    texture = cv2.GaussianBlur(rng.standard_normal((192, 256)).astype(np.float32), (0, 0), 2)
    frames[2] -= (blotch * (0.25 + 0.2 * texture))[..., None]
    views = [view(f) for f in frames]
    made = window(views[2], [views[0], views[1], views[3], views[4]], [-2, -1, 1, 2])
    inside = blotch > 0
    light = made.lights[1].beside(inside)
    assert np.abs(made.lights[1].cells).max() > 0.1, "the blotch is large enough to pass for flicker"
    assert np.abs(light.cells).max() < 0.01
    sigma, _ = grain.measure(made.planes[[4, 5]] / 6, inside)
    assert sigma == pytest.approx(0.01, rel=0.35)
    again = relit(made, inside)
    full = np.abs(frames[2] - frames[1])[..., 0][inside].mean()
    assert np.abs(again.planes[4] / 6)[inside].mean() == pytest.approx(full, rel=0.05)
    assert np.abs(made.planes[4] / 6)[inside].mean() < 0.7 * full
    assert relit(made, np.zeros((192, 256))) is made


def test_wrong_files_and_options(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"no weights")
    save_file({"x": torch.zeros(1)}, tmp_path / "b.safetensors")
    for name in ("a", "b", "missing"):
        with pytest.raises(ModelError, match="not a film restorer"):
            film.load(tmp_path / f"{name}.safetensors")
    for wrong in ({"strength": 2.0}, {"grain": -1.0}):
        with pytest.raises(OptionError, match="impossible"):
            film.load(SHIPPED, **wrong)


def test_network_shapes():
    net = FilmNet((4, 4, 4, 4))
    found = net(torch.zeros(2, 9, 48, 32), torch.ones(2, 4), torch.zeros(2, 9, 3, 32), torch.zeros(2, 10, 24, 16))
    assert [tuple(f.shape) for f in found] == [(2, 1, 48, 32), (2, 5, 48, 32), (2, 3, 48, 32), (2, 1, 3, 32)]
    assert (found.mask < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_quick_ways_give_what_the_plain_ones_give(dtype):
    generator = torch.Generator().manual_seed(0)
    planes, flags, evidence, x, rows = (
        torch.randn(*shape, generator=generator).to(dtype)
        for shape in ((2, 9, 48, 32), (2, 4), (2, 10, 24, 16), (2, 6, 24, 16), (2, 6, 3, 16))
    )
    plain = torch.cat((F.pixel_unshuffle(planes, 2), flags[:, :, None, None].expand(-1, -1, 24, 16)), 1)
    assert torch.equal(_folded(planes, flags, None), plain)
    assert torch.equal(_folded(planes, flags, evidence), torch.cat((plain, evidence), 1))
    plain = x + F.interpolate(rows, scale_factor=(8, 1), mode="bilinear", align_corners=False)
    near = 0.04 if dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(_add_rows(x.clone(), rows), plain, atol=near, rtol=0)


def test_threads_are_put_back(small, spotted):
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        run(small, spotted[0])
        assert torch.get_num_threads() == 3
        with pytest.raises(IndexError):
            small(spotted[0][:1], 0, 0, 3, small.open(Shot(0, 3, {})))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("factor", [2, 4, 5])
@pytest.mark.parametrize("masked", [False, True])
def test_black_borders_at_a_render_factor(tmp_path, factor, masked):
    clean = moving(5, 96, 64)
    clean[..., :10] = clean[..., -12:] = 0
    clean[..., :6, :] = 0
    dirty = clean.clone()
    dirty[2, :, 30:38, 40:52] = 1
    dirty[2, :, 20:30, 2:8] = 1  # in the border, which is left alone
    options = {}
    if masked:
        cv2.imwrite(str(tmp_path / "mask.png"), np.full((64, 96), 128, np.uint8))
        options["mask"] = str(tmp_path / "mask.png")
    shots = [Shot(0, 5, {"border": np.array([10, 6, 12, 0]), "motion": np.zeros((5, 2), np.float32)})]
    model = RenderSize(film.load(SHIPPED, grain=0.0, **options), factor)
    whole = Film(shots, size=(96, 64))
    results = list(restore(stream_of(dirty), [model], whole, start=0, stop=5))
    mask = results[2].mask[0, 0]
    assert not mask[20:30, 2:5].any()
    # What is changed beside the border is enlarged from few pixels at the least factor; its tail is no grey level.
    away = max((r.frames[0] - dirty[n])[:, :5].abs().max() for n, r in enumerate(results))
    assert away == 0 if factor > 2 else away < 0.1 / 255
    if factor > 2:
        assert mask[34, 46] > 0.5
