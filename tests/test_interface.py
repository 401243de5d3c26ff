"""The public interface: what README shows works as written, and importing the package is cheap."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import restore_utils
from restore_utils import FrameModel, Result, load_model, per_frame, probe, restore, restore_frames
from restore_utils.errors import OptionError
from tests import clips

ROOT = Path(__file__).parents[1]


def frames(count: int = 7, height: int = 48, width: int = 64) -> np.ndarray:
    """A drifting pattern with a speck on the middle frame, uint8."""
    y, x = np.mgrid[:height, :width].astype(float)
    drift = [110 + 50 * np.sin((x + n) / 9) * np.cos(y / 7) for n in range(count)]
    film = np.repeat(np.stack(drift)[..., None], 3, axis=-1).astype(np.uint8)
    film[count // 2, 20:24, 30:34] = 250
    return film


def test_frames_in_memory_are_restored_and_the_mask_says_where():
    dirty = frames()
    clean, mask = restore_frames(dirty, load_model("median"))
    assert clean.dtype == np.uint8
    assert clean.shape == dirty.shape
    assert mask.shape == dirty.shape[:3]
    assert clean[3, 20:24, 30:34].max() < 200
    assert mask[3, 20:24, 30:34].min() > 0
    assert np.array_equal(clean[mask == 0], dirty[mask == 0])


def test_floating_point_frames_and_models_of_ones_own():
    film = frames().astype(np.float32) / 255
    darker = per_frame(lambda run: run / 2, reach=0)
    result, mask = restore_frames(film, [darker, "copy"])
    assert result.dtype == np.float32
    assert np.allclose(result, film / 2, atol=1e-6)
    assert (mask == 1).all()


def test_frames_of_another_shape_or_type_are_refused():
    with pytest.raises(OptionError, match=r"give \(T, H, W, 3\)"):
        restore_frames(frames()[0])
    with pytest.raises(OptionError, match="give uint8"):
        restore_frames(frames().astype(np.int32))


def test_a_film_is_restored_with_a_model_object_and_resumes_with_it(tmp_path):
    class Darker(FrameModel):
        def __init__(self, share: float) -> None:
            self.share = share

        def __call__(self, run, at, lo, hi, state):
            return Result(run[lo - at : hi - at] * self.share)

    source = clips.plain(tmp_path / "old.mkv", count=6)
    first = restore(source, tmp_path / "new.mkv", model=Darker(0.5), codec="ffv1")
    again = restore(source, tmp_path / "new.mkv", model=Darker(0.5), codec="ffv1")
    other = restore(source, tmp_path / "new.mkv", model=Darker(0.9), codec="ffv1")
    assert (first.made, again.made, other.made) == (6, 0, 6)
    assert probe(tmp_path / "new.mkv").video.width == probe(source).video.width


def test_unknown_settings_are_named(tmp_path):
    with pytest.raises(OptionError, match="no setting 'begin'"):
        restore("a.mkv", tmp_path / "b.mkv", begin=3)


def test_options_of_a_model_are_checked():
    assert load_model("median", strength=0.5).options["strength"] == 0.5
    with pytest.raises(OptionError, match=r"at least 0\.1"):
        load_model("median", strength=-1)
    with pytest.raises(OptionError, match="at most 1"):
        load_model("deflicker", strength=7)


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, restore_utils; print([m for m in ('torch', 'fastai', 'av', 'cv2', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_no_module_bears_one():
    for name in restore_utils.__all__:
        assert getattr(restore_utils, name) is not None
    functions = {name for name in restore_utils.__all__ if name.islower() and not name.startswith("__")}
    modules = {p.stem for p in (ROOT / "restore_utils").rglob("*.py")} | {
        p.name for p in (ROOT / "restore_utils").rglob("*") if p.is_dir()
    }
    assert not functions & modules


def test_readme_shows_the_interface_as_it_is(tmp_path, monkeypatch):
    text = (ROOT / "README.md").read_text()
    [block] = re.findall(r"```python\n(from restore_utils import.*?)```", text, re.S)
    clips.plain(tmp_path / "old.mkv", count=6)
    clips.plain(tmp_path / "clean.mkv", count=6)
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"array": frames()})
    assert (tmp_path / "restored.mkv").exists()
