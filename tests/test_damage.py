"""Damage: the four results fit together, any stretch comes out the same, and each fault does what its name says."""

import pickle
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from restore_utils import damage
from restore_utils.damage import chance, recipes, shapes
from restore_utils.damage.canvas import composite
from restore_utils.damage.fault import FAULTS, KINDS, Par, fault
from restore_utils.damage.geometry import moved
from restore_utils.errors import OptionError
from restore_utils.pairs import look

EMPTY = recipes.Recipe("test", "", ("35mm",), ())
SIZE = (160, 120)


def scene(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> torch.Tensor:
    """Smooth colour that moves a little from frame to frame."""
    rng = np.random.default_rng(seed)
    base = cv2.GaussianBlur(rng.random((size[1], size[0], 3)).astype(np.float32), (0, 0), 6)
    base = (base - base.min()) / (base.max() - base.min()) * 0.8 + 0.1
    return torch.stack([torch.from_numpy(np.roll(base, n, 1)).permute(2, 0, 1).contiguous() for n in range(count)])


def grey(count: int, value: float = 0.5, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.full((count, 3, size[1], size[0]), value)


def made(recipe, x: torch.Tensor, seed: int = 0, length: int | None = None, frame=None, **options):
    size = (x.shape[3], x.shape[2])
    plan = damage.plan(np.random.default_rng(seed), length or len(x), size, recipe, frame=frame or size)
    return plan, damage.apply(x, plan, 0, **options)


@pytest.mark.parametrize("seed", range(4))
def test_any_stretch_comes_out_the_same_bit_for_bit(seed):
    recipe = recipes.load("heavy").plus("decoys").plus("speed", chance=seed % 2).plus("line").plus("cue", rate=0.1)
    x = scene(16)
    plan, whole = made(recipe, x, seed)
    for first, stop in ((0, 5), (7, 8), (9, 14), (15, 16)):
        lead = min(plan.lead, first)
        part = damage.apply(x[first:stop], plan, first, before=x[first - lead : first] if lead else None)
        for name in ("damaged", "target", "clean", "mask"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[first:stop]), name


def test_shapes_ranges_and_untouched_input():
    x = scene(3)
    kept = x.clone()
    _, out = made(recipes.load("heavy"), x)
    assert torch.equal(x, kept)
    assert out.damaged.shape == out.target.shape == out.clean.shape == x.shape
    assert out.mask.shape == (3, len(KINDS), SIZE[1], SIZE[0])
    for part in out:
        assert part.dtype == torch.float32
        assert 0 <= part.min() <= part.max() <= 1
    assert torch.equal(out.clean, x)


@pytest.mark.parametrize("kind", ["dust", "blotch", "hair", "gate-hair", "scratch", "line", "bar", "cue"])
@pytest.mark.parametrize("extra", [(), ("resolution", "weave", "flicker", "grain")])
def test_only_the_mask_separates_damaged_from_target(kind, extra):
    rates = {"cue": 0.2, "gate-hair": 0.1, "bar": 0.5, "scratch": 1.0}
    recipe = EMPTY.plus(kind, strength=1, rate=rates.get(kind, 20))
    for name in extra:
        recipe = recipe.plus(name)
    _, out = made(recipe, grey(8))
    changed = (out.damaged != out.target).any(1)
    channel = {"gate-hair": "hair", "bar": "line"}.get(kind, kind)
    assert changed.any()
    assert not (changed & (out.mask.amax(1) == 0)).any()
    assert [KINDS[k] for k in out.mask.amax((0, 2, 3)).nonzero().ravel()] == [channel]


def test_a_plan_is_drawn_by_its_seed_alone_and_is_small_for_two_hours():
    recipe = recipes.load("heavy")
    plans = [damage.plan(np.random.default_rng(s), 24 * 7200, (160, 120), recipe) for s in (3, 3, 4)]
    assert plans[0] == plans[1] != plans[2]
    assert len(pickle.dumps(plans[0])) < 8000
    again = pickle.loads(pickle.dumps(plans[0]))
    x = scene(2)
    assert torch.equal(damage.apply(x, plans[0], 150_000).damaged, damage.apply(x, again, 150_000).damaged)


def test_dust_lies_on_one_frame_dark_or_white_and_spans_two_orders_of_magnitude():
    both = EMPTY.plus("dust", rate=150, opacity=1.0, rim=0).plus("blotch", rate=20, opacity=1.0, rim=0)
    x = grey(10, size=(640, 480))
    for white, sign in ((0.0, -1), (1.0, 1)):
        recipe = both.plus("dust", rate=150, white=white, rim=0).plus("blotch", rate=20, white=white, rim=0)
        change = made(recipe, x)[1].damaged - x
        assert (sign * change).min() > -1e-6
        assert (sign * change).max() > 0.25
    mask = made(both, x)[1].mask[:, :2].amax(1)
    assert np.corrcoef(mask[0].ravel(), mask[1].ravel())[0, 1] < 0.05
    areas = []
    for frame in mask:
        _, _, stats, _ = cv2.connectedComponentsWithStats((frame.numpy() > 0.1).astype(np.uint8))
        areas += stats[1:, cv2.CC_STAT_AREA].tolist()
    assert np.percentile(areas, 99.5) / np.percentile(areas, 5) > 100


def test_dirt_has_a_size_on_film():
    dust = EMPTY.plus("dust", rate=100, size=60, spread=0, opacity=1.0, clusters=0, upright=0)
    covered = {}
    for gauge in ("35mm", "8mm"):
        recipe = recipes.Recipe("t", "", (gauge,), dust.faults)
        covered[gauge] = made(recipe, grey(6, size=(640, 480)))[1].mask.sum().item()
    assert 8 < covered["8mm"] / covered["35mm"] < 40  # (21.95 / 4.80) ** 2 = 20.9


def test_a_scratch_persists_and_runs_on_from_frame_to_frame():
    recipe = EMPTY.plus("scratch", rate=0.02, lasts=400, spread=0, opacity=1, broken=0, shimmer=0, still=0, wander=60)
    x = grey(60, size=(320, 240))
    for seed in range(20):
        _, out = made(recipe, x, seed, length=60)
        mask = out.mask[:, KINDS.index("scratch")]
        full = (mask.amax(2) > 0.05).all(1).nonzero().ravel().tolist()
        if len(full) > 20 and (mask[full[0]].amax(0) > 0.05).sum() < 12:
            break
    else:
        pytest.fail("no film with one long scratch among twenty")
    columns = torch.arange(320.0)
    centre = (mask[full] * columns).sum(2) / mask[full].sum(2)
    assert (centre[1:, 0] - centre[:-1, -1]).abs().median() < 0.5  # goes on at the top of the next frame
    assert centre.std() > 0.1  # and wanders


def test_short_scratches_cover_a_part_of_the_height():
    recipe = EMPTY.plus("scratch", rate=2.0, lasts=0.3, spread=0.2, opacity=1)
    mask = made(recipe, grey(10, size=(320, 240)))[1].mask[:, KINDS.index("scratch")]
    rows = (mask.amax(2) > 0.1).float().mean(1)
    assert 0 < rows[rows > 0].min() < rows.max() < 0.6


def test_grain_has_its_amount_size_and_signal_dependence():
    def noise(value, **values):
        recipe = EMPTY.plus("grain", **{"amount": 0.04, "size": 1.0, "colour": 0, "floor": 0.2, "skew": 0, **values})
        x = grey(4, value, (256, 256))
        return (made(recipe, x, frame=(640, 480))[1].damaged - x).numpy()

    middle = noise(0.5)
    assert middle.std() == pytest.approx(0.04, rel=0.08)
    assert noise(0.1).std() == pytest.approx(0.04 * (0.2 + 0.8 * 4 * 0.1 * 0.9), rel=0.08)
    assert np.abs(middle[:, 0] - middle[:, 2]).max() < 1e-6  # grey grain
    assert abs(np.corrcoef(middle[0, 0].ravel(), middle[1, 0].ravel())[0, 1]) < 0.05
    lag = [np.corrcoef(n[0, 0, :, :-2].ravel(), n[0, 0, :, 2:].ravel())[0, 1] for n in (noise(0.5, size=0.5), middle)]
    assert lag[1] > lag[0] + 0.2
    assert lag[1] == pytest.approx(np.exp(-1), abs=0.1)  # Gaussian of sigma 1 at two pixels
    colour = noise(0.5, colour=0.8)
    assert np.corrcoef(colour[0, 0].ravel(), colour[0, 2].ravel())[0, 1] == pytest.approx(0.36, abs=0.1)


def test_grain_is_not_tiled_alike_in_a_large_frame():
    x = grey(1, 0.5, (1100, 600))
    n = (made(EMPTY.plus("grain", size=0.5), x)[1].damaged - x)[0, 0].numpy()
    assert abs(np.corrcoef(n[:80, :500].ravel(), n[:80, 512:1012].ravel())[0, 1]) < 0.05


def test_flicker_has_its_amount_and_its_local_part():
    x = grey(300, 0.5, (32, 24))
    whole = made(EMPTY.plus("flicker", amount=0.05, tau=0, beat=0, contrast=0, local=0), x)[1].damaged
    means = whole.mean((1, 2, 3)).numpy() / 0.5
    assert means.std() == pytest.approx(0.05, rel=0.12)
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.15
    assert whole.std((1, 2, 3)).max() < 1e-5
    beat = made(EMPTY.plus("flicker", amount=0.05, tau=0, beat=1, period=6, contrast=0, local=0), x)[1].damaged
    spectrum = np.abs(np.fft.rfft(beat.mean((1, 2, 3)).numpy() - 0.5))
    assert np.argmax(spectrum) == 50
    local = made(EMPTY.plus("flicker", amount=0.05, tau=0, contrast=0, local=1), x)[1].damaged
    assert local.std((1, 2, 3)).mean() > 0.005


@pytest.mark.parametrize("kind", ["dust", "blotch", "hair", "scratch", "cue"])
def test_dirt_on_the_film_weaves_with_it(kind):
    recipe = EMPTY.plus(
        kind, rate={"cue": 0.2, "scratch": 1.0}.get(kind, 20), **({"still": 0} if kind == "scratch" else {})
    )
    plan = damage.plan(np.random.default_rng(0), 9, (320, 240), recipe, frame=(320, 240))
    masks = []
    for shift in ((0.0, 0.0), (7.0, 0.0)):
        canvases = [damage.Canvas(320, 240) for _ in range(9)]
        for n, canvas in enumerate(canvases):
            canvas.shift = shift
            FAULTS[kind].make(canvas, n, plan, plan.faults[0])
        masks.append(composite(grey(9, size=(320, 240)), canvases, with_mask=True)[1].amax(1))
    assert masks[0].any()
    assert (masks[1][..., 7:] - masks[0][..., :-7]).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["gate-hair", "line", "bar"])
def test_what_the_gate_and_the_transfer_add_does_not_weave(kind):
    plan, out = made(EMPTY.plus(kind, rate=2.0 if kind == "line" else 0.2).plus("weave", across=6, down=6), grey(9))
    still = damage.apply(grey(9), replace(plan, faults=tuple(p for p in plan.faults if p.name != "weave")), 0)
    assert out.mask.any()
    assert torch.equal(out.mask, still.mask)


def test_weave_moves_the_picture_by_its_path():
    x = torch.rand(3, 3, 40, 60)
    there = moved(x, np.array([[3.0, -2.0], [0.0, 5.0], [-4.0, 0.0]]))
    for t, (dx, dy) in enumerate(((3, -2), (0, 5), (-4, 0))):
        assert torch.equal(there[t, :, 6:-6, 6:-6], torch.roll(x[t], (dy, dx), (1, 2))[:, 6:-6, 6:-6])
    ramp = torch.arange(60.0).expand(1, 3, 40, 60) / 60
    assert torch.allclose(moved(ramp, np.array([[0.25, 0.5]]))[..., 5:-5], ramp[..., 5:-5] - 0.25 / 60, atol=1e-6)
    plan, out = made(EMPTY.plus("weave", across=4, down=2), x)
    shift = FAULTS["weave"].make(np.arange(3), plan, plan.at("weave")[0])
    assert torch.equal(out.target, moved(x, shift).clamp(0, 1))
    assert np.ptp(shift, 0).min() > 0.05


def test_light_and_colour():
    x = scene(2, (320, 240))
    dark = made(EMPTY.plus("vignette", amount=0.5, power=2), grey(1))[1].damaged[0, 0]
    assert dark[0, 0] < 0.3 < 0.45 < dark[60, 80]
    mono = made(EMPTY.plus("monochrome"), x)[1].damaged
    assert torch.equal(mono[:, 0], mono[:, 2])
    red = torch.tensor([0.8, 0.1, 0.1]).view(1, 3, 1, 1).expand(1, 3, 120, 160).contiguous()
    pan, ortho = (made(EMPTY.plus("monochrome", ortho=o, contrast=1), red)[1].damaged.mean() for o in (0, 1))
    assert ortho < pan - 0.1
    faded = made(EMPTY.plus("fading", amount=0.6, cyan=1, yellow=0.3, magenta=0), x)[1].damaged - x
    assert faded[:, 0].mean() > faded[:, 2].mean() > faded[:, 1].mean()
    sepia = made(EMPTY.plus("tint", amount=1, hue=30), grey(1))[1].damaged.mean((0, 2, 3))
    assert sepia[0] > sepia[1] > sepia[2]


def test_blur_and_resolution_take_detail_and_keep_brightness():
    x = torch.rand(2, 3, 240, 320, generator=torch.Generator().manual_seed(0))
    for name, values in (("blur", {"sigma": 2.0}), ("resolution", {"scale": 0.5})):
        out = made(EMPTY.plus(name, **values), x)[1].damaged
        assert out.std() < 0.6 * x.std()
        assert out.mean().item() == pytest.approx(x.mean().item(), abs=0.01)


def test_slow_film_repeats_frames_with_their_dirt():
    plan = damage.plan(np.random.default_rng(0), 48, SIZE, EMPTY.plus("speed", rate=16, shown=24), frame=SIZE)
    shown = plan.shows(np.arange(48))
    assert len(np.unique(shown)) == 32
    assert (shown <= np.arange(48)).all()
    assert (np.arange(48) - shown).max() == 1
    x = torch.rand(12, 3, 120, 160)
    plan, out = made(EMPTY.plus("repeats", rate=0.5).plus("dust", rate=50).plus("grain"), x)
    shown = plan.shows(np.arange(12))
    stuck = [n for n in range(1, 12) if shown[n] == n - 1]
    assert stuck
    for n in stuck:
        assert torch.equal(out.damaged[n], out.damaged[n - 1])
    assert torch.equal(out.clean, x)


def test_cue_marks_stand_on_four_frames_in_the_upper_right_corner():
    recipe, size = EMPTY.plus("cue", rate=0.0008), (320, 240)
    for seed in range(30):
        plan = damage.plan(np.random.default_rng(seed), 2000, size, recipe, frame=size)
        begin, traits = chance.events(plan.faults[0].seed, 0.0008, 190, 200, 1500)
        if len(begin) == 1:
            break
    first = int(np.floor(begin[0]))
    second = 176 if traits[0, 6] < 0.5 else 172
    marked = []
    for n in (*range(first - 2, first + 6), *range(first + second - 2, first + second + 6)):
        mask = damage.apply(grey(1, size=size), plan, n).mask[0, KINDS.index("cue")]
        if mask.any():
            marked.append(n - first)
            rows, columns = mask.nonzero().T
            assert rows.max() < 0.2 * 240
            assert columns.min() > 0.8 * 320
    assert marked == [0, 1, 2, 3, *range(second, second + 4)]


def test_the_overlay_does_not_change_the_brightness():
    x = scene(4, (320, 240))
    out = made(EMPTY.plus("overlay", contrast=0.1), x)[1].damaged
    assert (out - x).std() > 0.01
    assert (out - x).mean().abs() < 0.001


def test_decoys_are_in_target_and_clean_but_not_in_the_mask():
    x = grey(6)
    _, out = made(EMPTY.plus("decoys", rate=40), x)
    assert not torch.equal(out.clean, x)
    assert torch.equal(out.clean, out.target)
    assert torch.equal(out.target, out.damaged)
    assert not out.mask.any()
    seen = (out.clean != 0.5).any(1).flatten(1)
    assert (seen[2] & seen[3]).sum() > 0.3 * seen[2].sum()  # they stay and move


def test_codec_smears_alike_and_needs_pyav(monkeypatch):
    recipe = EMPTY.plus("codec", crf=40).plus("dust", rate=20)
    x = scene(4, (161, 121))
    plan, raw = made(recipe, x, with_mask=False)
    assert raw.mask is None
    one, two = (damage.apply(x, plan, 0, codec=True) for _ in range(2))
    assert torch.equal(one.damaged, two.damaged)
    assert one.damaged.shape == x.shape
    assert 0.001 < (one.target - raw.target).abs().mean() < 0.06
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(OptionError, match="install av"):
        damage.apply(x, plan, 0, codec=True)
    assert torch.equal(damage.apply(x, plan, 0).damaged, raw.damaged)


def label_map(folder, wide: bool = True):
    image = np.zeros((200, 300), np.uint8)
    image[20:26, 20:26], image[60:80, 60:80] = 1, 2
    image[100:102, 30:60], image[120:122, 30:90] = 3, 4
    image[150:153, 100:250] = 5
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "a.png"), image)
    return folder


def test_shapes_of_real_defects_come_from_label_maps(tmp_path):
    folder = label_map(tmp_path / "maps")
    found = shapes.real(str(folder))
    assert {k: len(v) for k, v in found.items()} == {"dust": 1, "blotch": 1, "hair": 2, "scratch": 1}
    assert found["dust"][0].mm == pytest.approx(2 * (36 / np.pi) ** 0.5 / 300 * 36)
    h, w = found["scratch"][0].levels[0].shape
    assert h > w  # stills lie sideways
    recipe = EMPTY.plus("dust", rate=20, opacity=1, soft=0, upright=0).with_shapes(folder)
    mask = made(recipe, grey(3, size=(640, 480)))[1].mask[:, 0]
    pixels_per_mm = 640 / 21.95
    one = np.pi / 4 * (found["dust"][0].mm * pixels_per_mm) ** 2
    _, _, stats, _ = cv2.connectedComponentsWithStats((mask[0].numpy() > 0.02).astype(np.uint8))
    assert np.median(stats[1:, cv2.CC_STAT_AREA]) == pytest.approx(one, rel=0.5)


def test_short_scratches_take_real_outlines_too(tmp_path):
    recipe = EMPTY.plus("scratch", rate=3.0, lasts=0.1, spread=0, opacity=1).with_shapes(label_map(tmp_path / "maps"))
    mask = made(recipe, grey(4, size=(640, 480)))[1].mask[:, KINDS.index("scratch")]
    heights = mask.amax(2).gt(0.02).sum(1)
    assert mask.amax() > 0.2
    expected = 150 / 300 * 36 * 640 / 21.95  # 150 of 300 pixels of a 36 mm map, capped at a quarter of the height
    assert heights.max() > 0.2 * min(expected, 240)


def test_bad_label_maps_are_named(tmp_path):
    with pytest.raises(OptionError, match="no label maps"):
        shapes.real(str(tmp_path))
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((20, 20), 77, np.uint8))
    with pytest.raises(OptionError, match=r"photo.png: not a label map"):
        shapes.real(str(tmp_path))


def test_what_cannot_be_is_refused():
    rng = np.random.default_rng(0)
    for length, size, options in (
        (0, SIZE, {}),
        (5, (4, 4), {}),
        (5, SIZE, {"strength": 9}),
        (5, SIZE, {"frame": (80, 60)}),
    ):
        with pytest.raises(OptionError):
            damage.plan(rng, length, size, EMPTY, **options)
    plan = damage.plan(rng, 5, SIZE, EMPTY)
    with pytest.raises(OptionError, match="160x120"):
        damage.apply(grey(1, size=(80, 60)), plan, 0)
    with pytest.raises(OptionError, match="outside"):
        damage.apply(grey(3), plan, 4)


def test_a_fault_is_added_with_one_function():
    @fault("test-tape", stage="film", rate=Par(1.0, 0, 9, "strips per frame", scaled=True))
    def tape(canvas, n, plan, p):
        rng = chance.generator(p.seed, n)
        for _ in range(rng.poisson(p.rate)):
            canvas.stamp(
                "blotch", np.full((6, 30), 0.5), int(rng.integers(160)), int(rng.integers(120)), plan.tone(False, 0)
            )

    try:
        _, out = made(EMPTY.plus("test-tape", strength=3), grey(5))
        assert out.mask[:, KINDS.index("blotch")].amax() >= 0.5
        assert (out.damaged != out.target).any()
        with pytest.raises(ValueError, match="registered twice"):
            fault("test-tape", stage="film")(tape)
    finally:
        del FAULTS["test-tape"]


def test_every_fault_names_its_source():
    for name, entry in FAULTS.items():
        assert entry.make.__doc__, name
        assert len(entry.make.__doc__) > 80, name
        assert all(par.low <= par.high and par.what for par in entry.pars.values()), name


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_and_cpu_agree():
    x = scene(5)
    for seed in range(6):
        plan, here = made(recipes.load("heavy").plus("decoys"), x, seed)
        there = damage.apply(x.cuda(), plan, 0)
        for name in ("damaged", "target", "clean", "mask"):
            assert (getattr(there, name).cpu() - getattr(here, name)).abs().max() < 1e-4, name


def test_faults_that_come_seldom_are_looked_for():
    frames = torch.rand(4, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    pictures = look.one_of_each(frames)
    assert pictures.keys() == FAULTS.keys()
    for name in ("dust", "hair", "bar"):
        assert not (pictures[name] == frames).all(dim=(1, 2, 3)).any(), name
