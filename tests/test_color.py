"""Colour: luma untouched, seeds obeyed and carried, the same whatever the runs. With a network of random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from restore_utils.core.model import Film, Shot
from restore_utils.core.runner import RunSize, restore
from restore_utils.core.testing import check_model, film, stats_of, stream_of
from restore_utils.errors import OptionError
from restore_utils.restorers.color import hints as hint_files
from restore_utils.restorers.color import references as reference_files
from restore_utils.restorers.color.chroma import LUMA, ab_of, colored, luma, luma_of
from restore_utils.restorers.color.encoder import Encoder
from restore_utils.restorers.color.flow import Carried, blended, steps
from restore_utils.restorers.color.hints import Hint, Hints
from restore_utils.restorers.color.lab import lab_to_rgb, rgb_to_lab
from restore_utils.restorers.color.model import Color
from restore_utils.restorers.color.network import ColorNet, Look, Seeds, joined, remember, remember_points
from restore_utils.restorers.color.painter import Painter, settled
from restore_utils.restorers.color.places import View, picture, ranked
from restore_utils.restorers.color.references import Reference

WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def net() -> ColorNet:
    torch.manual_seed(3)
    return ColorNet().eval()


@pytest.fixture(scope="module")
def colors() -> torch.Tensor:
    """A colour film (21, 3, HEIGHT, WIDTH) of a drifting pattern without dust."""
    generator = torch.Generator().manual_seed(4)
    small = torch.rand(1, 3, 10, 14, generator=generator)
    large = torch.nn.functional.interpolate(small, size=(HEIGHT + 30, WIDTH + 30), mode="bicubic").clamp(0, 1)
    return torch.cat([large[..., n : n + HEIGHT, n : n + WIDTH] for n in range(21)]) * 0.6 + 0.2


def grey_of(rgb: torch.Tensor) -> torch.Tensor:
    return luma(rgb, luma_of(rgb.shape[-1], rgb.shape[-2])).expand_as(rgb).contiguous()


def colored_by(model: Color, frames: torch.Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
    shots = [Shot(0, len(frames), stats_of(frames.mean(dim=(1, 2, 3)).numpy()))]
    stop = len(frames) if stop is None else stop
    results = restore(stream_of(frames), [model], shots, start=start, stop=stop, sizes=[RunSize(8)])
    return torch.cat([result.frames for result in results])


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean distance in the a*b* plane."""
    return float((ab_of(one) - ab_of(other)).norm(dim=-3).mean() * 100)


# ---- arithmetic ----


def test_lab_and_back():
    rgb = torch.rand(3, 40, 40)
    assert torch.allclose(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=1e-4)
    assert torch.allclose(rgb_to_lab(torch.ones(3, 1, 1))[:, 0, 0], torch.tensor([100.0, 0, 0]), atol=0.02)
    red = rgb_to_lab(torch.tensor([1.0, 0, 0]).view(3, 1, 1))[:, 0, 0]
    assert torch.allclose(red, torch.tensor([53.24, 80.09, 67.20]), atol=0.05)  # Lindbloom's calculator


@pytest.mark.parametrize("weights", LUMA.values(), ids=LUMA)
def test_colours_keep_the_luma_and_stay_in_gamut(weights):
    grey = torch.rand(1, 1, 50, 50)
    wild = torch.randn(1, 2, 50, 50) * 0.8
    out = colored(grey, wild, weights)
    assert torch.allclose(luma(out, weights), grey, atol=1e-5)
    assert out.min() > -1e-5
    assert out.max() < 1 + 1e-5
    rgb = torch.rand(1, 3, 50, 50) * 0.5 + 0.25
    assert (colored(luma(rgb, weights), ab_of(rgb), weights) - rgb).abs().mean() < 0.004
    assert torch.allclose(colored(grey, torch.zeros(1, 2, 50, 50), weights), grey.expand(1, 3, 50, 50), atol=1e-5)


def test_grey_pictures_on_the_encoder_have_its_five_sizes():
    with torch.no_grad():
        features = Encoder().eval()(torch.rand(1, 1, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (16, 32, 48),
        (24, 16, 24),
        (40, 8, 12),
        (112, 4, 6),
        (320, 2, 3),
    ]


def test_a_memory_gives_back_what_it_was_given(net):
    keys = torch.nn.functional.normalize(torch.randn(1, 64, 8, 8), dim=1)
    look = Look([], keys, torch.rand(1, 1, 8, 8))
    ab = torch.randn(1, 2, 8, 8) * 0.3
    with torch.no_grad():
        found, weights, _ = net.match(look, remember(look, ab))
        point = remember_points(look, torch.tensor([[[0.5, 0.5]]]), torch.tensor([[[0.2, 0.1]]]), torch.ones(1, 1))
        nothing = net.match(look, remember(look, ab, torch.zeros(1, 1, 8, 8)))[0]
        strange = net.match(look, remember(look._replace(keys=-keys), ab))[0]
    assert torch.allclose(found[:, :2], ab, atol=0.05)
    assert torch.allclose(weights.sum(-1), torch.ones(1, 64), atol=1e-5)
    assert joined(remember(look, ab), None, point).keys.shape[1] == 65
    assert float(nothing[:, 2].max()) < 1e-3  # what counts for nothing is not trusted
    assert float(strange[:, 2].mean()) < 0.5 * float(found[:, 2].mean())  # nor what looks like nothing here


def test_an_empty_answer_does_not_depend_on_seeds_that_are_not_there(net):
    grey = torch.rand(1, 1, 64, 64)
    empty = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        look = net.look(grey)
        without = net.fill(look, Seeds(empty, empty)).ab
        weightless = net.fill(
            look, Seeds(empty, empty, remember(look, torch.ones(1, 2, 8, 8), torch.zeros(1, 1, 8, 8)))
        )
    assert torch.allclose(without, weightless.ab, atol=2e-2)


# ---- carrying ----


def test_motion_carries_colours_and_loses_them_where_it_is_not_sure(colors):
    one, other = ((grey_of(colors)[n, 0].numpy() * 255).astype(np.uint8) for n in (0, 1))
    ab = ab_of(colors[:2]).permute(0, 2, 3, 1).numpy()
    there, back = steps(one, other)
    moved = Carried(ab[0], np.ones(one.shape, np.float32)).along(there)
    inner = (slice(8, -8), slice(8, -8))
    assert np.abs(moved.ab - ab[1])[inner].mean() < 0.5 * np.abs(ab[0] - ab[1])[inner].mean()
    assert moved.trust[inner].mean() > 0.6
    noise = np.random.default_rng(0).integers(0, 255, one.shape, dtype=np.uint8)
    lost = Carried(ab[0], np.ones(one.shape, np.float32)).along(steps(one, noise)[0])
    assert lost.trust.mean() < 0.25
    same, _ = steps(one, one)
    assert same.trust.min() == 1
    assert np.abs(same.flow).max() == 0
    assert back.flow.shape == (*one.shape, 2)


def test_a_flash_is_no_motion(colors):
    one = (grey_of(colors)[0, 0].numpy() * 180).astype(np.uint8)
    bright = (one * 1.3 + 15).clip(0, 255).astype(np.uint8)
    step, _ = steps(one, bright)
    assert step.trust.mean() > 0.8


def test_both_sides_are_blended_by_nearness_and_trust():
    shape = (4, 4)
    one = Carried(np.zeros((*shape, 2), np.float32), np.ones(shape, np.float32))
    other = Carried(np.full((*shape, 2), 0.1, np.float32), np.ones(shape, np.float32))
    assert np.allclose(blended(one, other, 0.0).ab, 0, atol=1e-4)
    assert np.allclose(blended(one, other, 1.0).ab, 0.1, atol=1e-4)
    assert np.allclose(blended(one, other, 0.5).ab, 0.05, atol=1e-3)
    other.trust[:] = 0
    assert np.allclose(blended(one, other, 0.5).ab, 0, atol=1e-4)


# ---- the model ----


def test_contract(net):
    model = Color(net, detail=128)
    check_model(model, 70, 50)


def test_luma_is_untouched_and_segments_do_not_matter(net, colors):
    grey = grey_of(colors)
    hints = Hints((Hint(19, None, ((40.0, 30.0),), (0.8, 0.3, 0.2)),))
    model = Color(net, hints=hints)
    whole = colored_by(model, grey)
    assert torch.allclose(luma(whole, luma_of(WIDTH, HEIGHT)), grey[:, :1], atol=1e-5)
    for start, stop in ((17, 21), (5, 18), (20, 21)):
        assert torch.equal(colored_by(Color(net, hints=hints), grey, start, stop), whole[start:stop])


def test_a_hint_gives_the_colour_that_was_asked_for(net, colors):
    grey = grey_of(colors)[:3]
    asked = (0.75, 0.45, 0.35)
    model = Color(net, hints=Hints((Hint(1, None, ((50.5, 30.5),), asked, radius=5),)))
    got = colored_by(model, grey)[1, :, 30, 50]
    wanted = rgb_to_lab(torch.tensor(asked).view(3, 1, 1))[1:, 0, 0]
    assert float((rgb_to_lab(got.view(3, 1, 1))[1:, 0, 0] - wanted).norm()) < 3


def test_a_hint_goes_with_the_thing_that_has_it(net, colors):
    """The pattern drifts a pixel a frame, up and to the left; a hint on it goes along, both ways in time."""
    grey = grey_of(colors)
    asked = (0.75, 0.45, 0.35)
    model = Color(net, hints=Hints((Hint(10, None, ((50.5, 34.5),), asked, radius=6),)))
    out = ab_of(colored_by(model, grey))
    wanted = rgb_to_lab(torch.tensor(asked).view(3, 1, 1))[1:, 0, 0] / 100
    # By motion alone, for the network is untrained and knows nothing.
    for n in (7, 9, 11, 13):
        y, x = 34 - (n - 10), 50 - (n - 10)
        assert float((out[n, :, y, x] - wanted).norm()) < 0.5 * float(wanted.norm()), n


def test_repeats_flashes_and_fades_do_not_change_colours(net, colors):
    still = grey_of(colors)[:1].repeat(17, 1, 1, 1)
    hints = Hints(
        (Hint(0, None, ((10.0, 10.0), (90.0, 10.0), (90.0, 60.0), (10.0, 60.0)), (0.8, 0.4, 0.3), region=True),)
    )
    model = Color(net, hints=hints)
    repeated = ab_of(colored_by(model, still))
    assert float((repeated - repeated[:1]).norm(dim=1).mean()) < 0.01
    flash = still.clone()
    flash[8] = (flash[8] * 1.3 + 0.05).clamp(0, 1)
    inner = (slice(None), slice(None), slice(16, 48), slice(16, 80))
    assert float((ab_of(colored_by(model, flash)) - repeated)[inner].norm(dim=1).mean()) < 0.03
    fade = still * torch.linspace(1, 0.5, 17).view(-1, 1, 1, 1)
    faded = ab_of(colored_by(model, fade))[inner]
    assert float(faded.diff(dim=0).norm(dim=1).mean(dim=(1, 2)).max()) < 0.03  # no jump


def test_the_dark_has_no_colour(net):
    noise = torch.rand(3, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(6)) * 0.06
    out = colored_by(Color(net, vivid=1.0), noise.repeat(1, 3, 1, 1))
    assert float(ab_of(out).norm(dim=1).max()) < 0.04


def test_colours_of_one_shot_do_not_come_through_a_cut(net, colors):
    grey = grey_of(colors)
    other = torch.rand(1, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(7)).repeat(4, 3, 1, 1)
    frames = torch.cat((grey[:4], other))
    hints = Hints((Hint(3, None, ((0.0, 0.0), (96.0, 0.0), (96.0, 64.0), (0.0, 64.0)), (0.9, 0.2, 0.2), region=True),))

    def of_second(model: Color) -> torch.Tensor:
        luma_means = frames.mean(dim=(1, 2, 3)).numpy()
        shots = [Shot(0, 4, stats_of(luma_means[:4])), Shot(4, 8, stats_of(luma_means[4:]))]
        results = restore(stream_of(frames), [model], shots, start=0, stop=8, sizes=[RunSize(8)])
        return torch.cat([result.frames for result in results])[4:]

    strange = difference(of_second(Color(net, hints=hints)), of_second(Color(net)))
    red = float(rgb_to_lab(torch.tensor((0.9, 0.2, 0.2)).view(3, 1, 1))[1:].norm())
    assert strange < 0.4 * red


def test_a_reference_is_placed_where_it_belongs_and_is_exact_there(net, colors):
    grey = grey_of(colors)
    model = Color(net, references=(Reference("seen.png", colors[9].numpy()),))
    out = colored_by(model, grey)
    assert difference(out[9], colors[9]) < 1.5
    # On an untrained network what motion brings is all there is: near the reference it is right, far away it has faded.
    assert difference(out[10], colors[10]) < 0.5 * difference(grey[10], colors[10])
    assert difference(out[8], colors[8]) < 0.5 * difference(grey[8], colors[8])


def test_one_frame_and_the_last_frame_of_a_cell(net, colors):
    for count in (1, 2, 16, 17):
        frames = grey_of(colors)[:count]
        assert colored_by(Color(net), frames).shape == frames.shape


def test_residuals_of_points_do_not_cross_edges():
    grey = np.full((40, 40), 0.2, np.float32)
    grey[:, 20:] = 0.9
    ab = settled(np.zeros((40, 40, 2), np.float32), grey, [Hint(0, None, ((10.5, 20.5),), (0.9, 0.2, 0.2), radius=3)])
    assert np.linalg.norm(ab[20, 10]) > 0.4
    assert np.linalg.norm(ab[20, 14]) > 0.3
    assert np.abs(ab[:, 21:]).max() < 0.02


def film_of(count: int = 20, chroma: tuple[float, float, float] | None = None, grey: bool = False) -> Film:
    stats = stats_of(np.full(count, 0.5, np.float32)) | {"time": np.arange(count) / 25}
    if chroma:
        stats["chroma"] = np.tile(np.float32(chroma), (count, 1))
    return Film([Shot(0, count, stats)], size=(200, 100), grey=grey)


def test_films_with_colours_or_a_tint_are_asked_about(net):
    assert Color(net).refuse(film_of()) is None
    assert Color(net).refuse(film_of(chroma=(0.0, 0.0, 0.004))) is None  # noise of MPEG
    assert "has colours" in Color(net).refuse(film_of(chroma=(0.0, 0.0, 0.05)))
    assert "tinted" in Color(net).refuse(film_of(chroma=(-0.08, 0.05, 0.003)))
    assert Color(net, over="yes").refuse(film_of(chroma=(0.0, 0.0, 0.05))) is None
    assert Color(net, over="tint").refuse(film_of(chroma=(-0.08, 0.05, 0.003))) is None
    assert Color(net).refuse(film_of(chroma=(0.0, 0.0, 0.05), grey=True)) is None


def test_hints_of_another_film_are_refused(net):
    def refused(hint: Hint, size: tuple[int, int] | None = None) -> str | None:
        return Color(net, hints=Hints((hint,), size)).refuse(film_of())

    assert refused(Hint(3, None, ((10.0, 10.0),), (1, 0, 0))) is None
    assert refused(Hint(None, 0.5, ((10.0, 10.0),), (1, 0, 0))) is None
    assert "frames 0 to 19" in refused(Hint(20, None, ((10.0, 10.0),), (1, 0, 0)))
    assert "60 s" in refused(Hint(None, 60.0, ((10.0, 10.0),), (1, 0, 0)))
    assert "outside the picture" in refused(Hint(3, None, ((300.0, 10.0),), (1, 0, 0)))
    assert refused(Hint(3, None, ((300.0, 10.0),), (1, 0, 0)), size=(400, 200)) is None


def test_a_fingerprint_tells_films_apart(net, tmp_path):
    luma = np.random.default_rng(5).random(200).astype(np.float32)
    mine = hint_files.fingerprint(luma)
    recoded = hint_files.fingerprint(luma + 0.005)
    point = Hint(3, None, ((10.0, 10.0),), (1, 0, 0))
    hints = Hints((point,), (200, 100), mine, tmp_path / "hints.json")
    hints.save(tmp_path / "hints.json")
    hints = hint_files.read(tmp_path / "hints.json")
    assert hints.fingerprint == mine
    assert hints.of_another_film(recoded) is None
    assert hints.of_another_film("") is None
    assert "other brightness" in hints.of_another_film(hint_files.fingerprint(luma[::-1].copy()))
    assert "of 200 frames, not 199" in hints.of_another_film(hint_files.fingerprint(luma[1:]))

    def film(measured: np.ndarray) -> Film:
        return Film([Shot(0, 90, {"luma": measured[:90]}), Shot(90, 200, {"luma": measured[90:]})], size=(200, 100))

    assert Color(net, hints=hints).refuse(film(luma)) is None
    refused = Color(net, hints=hints).refuse(film(1 - luma))
    assert "made for another film" in refused
    assert "hints.json" in refused
    assert "is none" in Color(net, hints=Hints((point,), None, "nonsense")).refuse(film(luma))


def test_a_tint_can_stay(net, colors):
    tinted = (grey_of(colors)[:2] * torch.tensor([1.0, 0.85, 0.6]).view(1, 3, 1, 1)).clamp(0, 1)
    kept = ab_of(colored_by(Color(net, over="tint"), tinted)).mean((0, 2, 3))
    gone = ab_of(colored_by(Color(net, over="yes"), tinted)).mean((0, 2, 3))
    assert float(kept[1] - gone[1]) > 0.08


def test_the_frame_whose_colours_settle_most_comes_first(net, colors):
    painter = Painter(net, torch.device("cpu"))
    greys = [np.ascontiguousarray(grey_of(colors)[n, 0].numpy()) for n in (0, 1, 2)]
    strange = np.random.default_rng(1).random(greys[0].shape, np.float32)
    views = {}
    for n, grey in {7: strange, 10: greys[0], 11: greys[1], 12: greys[2]}.items():
        look = painter.look(grey)
        views[n] = View.of(look, painter.fill(grey, look))
    places = ranked(net, views)
    shares = [place.settles for place in places]
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 1
    assert places[0].unsure.shape == greys[0].shape
    assert len({place.frame for place in places}) == len(places)
    assert ranked(net, {}) == []
    drawn = picture(greys[0], np.pad(np.ones((64, 48), np.float32), ((0, 0), (0, 48))))
    assert drawn.shape == (64, 96, 3)
    assert (drawn[:, :48, 0] > drawn[:, :48, 2]).all()  # red where it is a guess
    assert (np.ptp(drawn[:, 48:], axis=-1) == 0).all()


def test_the_report_hears_where_colours_would_help(net, colors):
    grey = grey_of(colors)
    model = Color(net, hints=Hints((Hint(0, None, ((40.0, 30.0),), (0.8, 0.3, 0.2)),)))
    whole = Film([Shot(0, 21, stats_of(grey.mean(dim=(1, 2, 3)).numpy()))], stream_of(grey))
    state = model.open(whole.shots[0])
    (note,) = model.notes(state)
    assert "would settle" in note
    assert state.places[0].frame in (16, 20)  # frame 0 has its colours
    ((caption, figure),) = model.figures(state)
    assert f"frame {state.places[0].frame}" in caption
    assert figure.dtype == np.uint8
    assert figure.shape[2] == 3


# ---- files ----


def written(tmp_path, text: str):
    path = tmp_path / "hints.json"
    path.write_text(text, encoding="utf-8")
    return path


def test_hints_are_read_scaled_and_written(tmp_path):
    path = written(
        tmp_path,
        """{"film": {"width": 200, "height": 100, "fingerprint": "abc"}, "hints": [
        {"frame": 3, "x": 20, "y": 10, "color": "#ff8000", "radius": 2},
        {"time": 1.5, "stroke": [[0, 0], [10, 10]], "color": "navy"},
        {"frame": 0, "region": [[0, 0], [50, 0], [50, 50]], "color": "grey"}]}""",
    )
    hints = hint_files.read(path)
    point, stroke, region = hints.at(100, 50).hints
    assert point.points == ((10, 5),)
    assert point.radius == 1
    assert point.color == (1, 128 / 255, 0)
    assert stroke.time == 1.5
    assert np.allclose(region.ab, 0, atol=1e-3)
    assert region.drawn(100, 50).sum() > 250
    assert stroke.drawn(100, 50)[2, 2] == 1
    hints.save(tmp_path / "again.json")
    assert hint_files.read(tmp_path / "again.json").hints == hints.hints


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ('{"x": 1, "y": 2, "color": "red"}', "frame"),
        ('{"frame": -1, "x": 1, "y": 2, "color": "red"}', "whole number"),
        ('{"frame": 1, "time": 2, "x": 1, "y": 2, "color": "red"}', "either"),
        ('{"frame": 1, "x": 1, "color": "red"}', "pairs of numbers"),
        ('{"frame": 1, "x": 1, "y": 2}', "color"),
        ('{"frame": 1, "x": 1, "y": 2, "color": "lightsalmonn"}', "lightsalmon"),
        ('{"frame": 1, "x": 1, "y": 2, "color": [1, 2]}', "three numbers"),
        ('{"frame": 1, "x": 1, "y": 2, "color": "red", "radius": 0}', "radius"),
        ('{"frame": 1, "region": [[1, 2], [3, 4]], "color": "red"}', "at least 3"),
        ('{"frame": 1, "x": 1, "y": 2, "colr": "red"}', "colr"),
        ("3", "not a hint"),
    ],
)
def test_wrong_hints_are_named(tmp_path, entry, says):
    with pytest.raises(OptionError, match="hint 1 of") as error:
        hint_files.read(written(tmp_path, f'{{"hints": [{entry}]}}'))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_no_hints_or_references(tmp_path):
    for text in ("no json", '{"hint": []}', '"x"'):
        with pytest.raises(OptionError, match=r"hints\.json"):
            hint_files.read(written(tmp_path, text))
    with pytest.raises(OptionError, match="cannot read"):
        hint_files.read(tmp_path / "missing.json")
    with pytest.raises(OptionError, match="outside the picture"):
        Hints((Hint(0, None, ((300.0, 1.0),), (1, 0, 0)),)).at(200, 100)
    with pytest.raises(OptionError, match="no reference"):
        reference_files.read(tmp_path / "missing.png")
    with pytest.raises(OptionError, match="holds no pictures"):
        reference_files.read(tmp_path)


def test_references_must_have_colours(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((20, 30, 3), 90, np.uint8))
    with pytest.raises(OptionError, match="no colours"):
        reference_files.read(tmp_path)
    cv2.imwrite(str(tmp_path / "grey.png"), np.tile(np.uint8([200, 90, 10]), (20, 30, 1)))
    (reference,) = reference_files.read(tmp_path / "grey.png")
    assert reference.size == (30, 20)
    assert reference.fits(300, 200)
    assert not reference.fits(200, 200)


def test_dust_of_the_film_is_no_reason_to_lose_a_reference(colors):
    frames = film(6, WIDTH, HEIGHT)
    thumbs = [reference_files.thumbnail(luma(frame, LUMA["601"])[0].numpy()) for frame in frames]
    assert reference_files.placed([Reference("a", frames[4].numpy())], thumbs, WIDTH, HEIGHT) == {4: 0}
    assert reference_files.placed([Reference("a", colors[4].numpy())], thumbs, WIDTH, HEIGHT) == {}
