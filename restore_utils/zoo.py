"""What can be named: from `NAME:key=value,...`, a file or a URL to models that are ready to run.

`models/zoo.toml` says what there is; `_BUILDERS` below says how each architecture is made of it. A new model is a file
in archs/, an entry in the data file and, for a new architecture, one line in `_BUILDERS`.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import re
import tomllib
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from restore_utils import weights
from restore_utils.download import Progress
from restore_utils.errors import ModelError, OptionError
from restore_utils.options import Option, parse_options
from restore_utils.stream import FrameModel, Result
from restore_utils.weights import WeightFile
from restore_utils.wrappers import ChromaOnly, RenderSize

_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".tar")
_OPTIONS_AT_END = re.compile(r":(?=[A-Za-z]\w*=)")


@dataclass(frozen=True)
class Entry:
    """One model of the zoo: what it is for, where its weights come from and who allows what."""

    name: str
    task: str
    architecture: str = ""
    chain: tuple[str, ...] = ()
    """Instead of an architecture: the models that run one after the other."""
    stage2: str = ""
    """The model that the option finetune_stage2 adds behind this one."""
    ends: str = ""
    """How windows are filled at the ends of a shot."""
    file: str = ""
    urls: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    normalisation: str = ""
    licence_code: str = "MIT"
    licence_weights: str = ""
    commercial: bool = True
    origin: str = ""
    paper: str = ""

    @property
    def weight_file(self) -> WeightFile | None:
        """The published file; None where no weights are needed."""
        return WeightFile(self.file, self.urls, self.bytes, self.sha256) if self.file else None

    @property
    def here(self) -> bool:
        """Whether all that it needs is on this machine."""
        if self.chain:
            return all(_entry(_split(spec)[0]).here for spec in self.chain)
        return self.weight_file is None or weights.find(self.weight_file) is not None

    @property
    def options(self) -> tuple[Option, ...]:
        """What may follow its name."""
        return () if self.chain else _options(self.architecture, self)


@dataclass(frozen=True)
class _Source:
    """What a builder works from: a weight file, if there is one, and what is known of it."""

    name: str
    path: Path | None = None
    entry: Entry | None = None

    @cached_property
    def checkpoint(self) -> weights.Checkpoint:
        return weights.read(self.path)

    @property
    def ends(self) -> str:
        return self.entry.ends if self.entry else self.checkpoint.metadata.get("ends", "")


def models() -> list[Entry]:
    """All models that have a name, in the order of the data file."""
    return list(_zoo().values())


def build(spec: str, *, device: torch.device | str = "cpu", progress: Progress | None = None) -> list[FrameModel]:
    """The models that a text names, ready on the device, to be run one after the other.

    Args:
        spec: `NAME`, `FILE` or `URL`, with options behind a colon: `fastdvdnet:sigma=20`.
        progress: called with bytes done and bytes in all while weights are downloaded.

    Returns:
        One model or more. Each carries `name`, `options` (all of them, as used) and `fingerprint` (of its weights).

    Raises:
        ModelError: for an unknown name, or weights that cannot be had, trusted or used.
        OptionError: for an option that the model does not have, or a value that it does not take.
    """
    name, given = _split(spec)
    entry = _zoo().get(name)
    if entry is None:
        return [_build_file(name, given, device, progress)]
    if entry.chain:
        if given:
            raise OptionError(f"{name} is a chain and has no options: name its parts instead: {', '.join(entry.chain)}")
        return [model for part in entry.chain for model in build(part, device=device, progress=progress)]
    options = parse_options(name, given, entry.options)
    stage2 = options.pop("finetune_stage2", False)
    if stage2 and not entry.stage2:
        raise OptionError(f"{name} has no second stage: leave finetune_stage2 out")
    if not entry.commercial and not options.pop("noncommercial"):
        raise ModelError(
            f"the weights of {name} are for non-commercial use only ({entry.licence_weights}): write "
            f"{name}:noncommercial=yes if yours is"
        )
    path = weights.fetch(entry.weight_file, progress=progress) if entry.weight_file else None
    built = [_make(entry.architecture, _Source(name, path, entry), options, device)]
    if stage2:
        second = {key: value for key, value in given.items() if key != "finetune_stage2"}
        text = ",".join(f"{key}={value}" for key, value in second.items())
        built += build(f"{entry.stage2}:{text}" if text else entry.stage2, device=device, progress=progress)
    return built


def _zoo() -> dict[str, Entry]:
    path = weights.shipped() / "zoo.toml"
    try:
        return _read_zoo(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise ModelError(
            f"the list of models is missing: put zoo.toml at {path}, or install the package again"
        ) from None


_read: dict[tuple[Path, int], dict[str, Entry]] = {}


def _read_zoo(path: Path, changed_ns: int) -> dict[str, Entry]:
    if (path, changed_ns) not in _read:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        entries: dict[str, Entry] = {}
        for table in data["model"]:
            facts = {**data["families"].get(table.pop("family", ""), {}), **table}
            facts = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
            entry = Entry(**facts)
            if entry.name in entries:
                raise ModelError(f"{path} names {entry.name} twice: give one of them another name")
            entries[entry.name] = entry
        _read[path, changed_ns] = entries
    return _read[path, changed_ns]


def _entry(name: str) -> Entry:
    entry = _zoo().get(name)
    if entry is None:
        close = difflib.get_close_matches(name, _zoo(), 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise ModelError(f"there is no model {name!r}{meant} Models: {', '.join(_zoo())}; or give a weight file")
    return entry


def _split(spec: str) -> tuple[str, dict[str, str]]:
    """`NAME:key=value,...` as a name and its options; colons of URLs and drives stay in the name."""
    name, *rest = _OPTIONS_AT_END.split(spec.strip(), maxsplit=1)
    if not name:
        raise OptionError(f"{spec!r} names no model: write NAME or NAME:key=value")
    given: dict[str, str] = {}
    for pair in rest[0].split(",") if rest else ():
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise OptionError(f"{pair!r} in {spec!r} is no option: write key=value,key=value")
        if key.strip() in given:
            raise OptionError(f"{key.strip()} is given twice in {spec!r}: keep one")
        given[key.strip()] = value.strip()
    return name, given


def _build_file(name: str, given: dict[str, str], device: torch.device | str, progress: Progress | None) -> FrameModel:
    """A model from a weight file or a URL; its architecture is told from the file."""
    if re.match(r"https?://", name):
        found = Path(urllib.parse.urlsplit(name).path).name or "weights"
        # Different addresses have files of one name (model.pth): the address is made part of it.
        local = f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{found}"
        path = weights.fetch(WeightFile(local, (name,), sha256=given.pop("sha256", None)), progress=progress)
    elif Path(name).is_file():
        path = Path(name)
    elif name.endswith(_SUFFIXES) or "/" in name or "\\" in name:
        raise ModelError(f"there is no weight file {name}: give another path, or a name: {', '.join(_zoo())}")
    else:
        _entry(name)
    source = _Source(path.name, path)
    architecture = _recognise(source)
    options = parse_options(name, given, _options(architecture, None))
    if options.pop("finetune_stage2", False):
        raise OptionError(
            f"a file has no second stage: name the file of the second stage as the next model, not {name}"
        )
    return _make(architecture, source, options, device)


def _recognise(source: _Source) -> str:
    says = weights.metadata(source.path)
    stated = says.get("architecture", "film" if "dims" in says else None)
    if stated in _BUILDERS and _BUILDERS[stated].from_file:
        return stated
    if stated:
        known = ", ".join(name for name, builder in _BUILDERS.items() if builder.from_file)
        raise ModelError(f"{source.path} says that it is a network {stated!r}, which is not known here: {known} are")
    names = source.checkpoint.tensors.keys()
    for architecture in ("edvr", "fastdvdnet"):
        if import_module(f".archs.{architecture}", __package__).recognises(names):
            return architecture
    return "image"


def _make(architecture: str, source: _Source, options: dict[str, Any], device: torch.device | str) -> FrameModel:
    inner = dict(options)
    factor, chroma_only = inner.pop("render_factor"), inner.pop("chroma_only")
    model = _BUILDERS[architecture].build(source, inner, torch.device(device))
    if factor:
        model = RenderSize(model, factor)
    if chroma_only:
        model = ChromaOnly(model)
    model.name, model.options = source.name, options
    # A model may depend on more files than its weights, and then says so in its own fingerprint.
    own = getattr(model, "fingerprint", "")
    model.fingerprint = weights.fingerprint(source.path, {"own": own} if own else None) if source.path else own
    return model


# --- how each architecture is made ------------------------------------------------------------------------------------


class Copy(FrameModel):
    """Leaves every frame as it is and says so: mask 0."""

    def __call__(self, run: Tensor, at: int, lo: int, hi: int, state: object) -> Result:
        frames = run[lo - at : hi - at]
        return Result(frames, frames.new_zeros(len(frames), 1, *frames.shape[-2:]))


@dataclass(frozen=True)
class _Builder:
    build: Callable[[_Source, dict[str, Any], torch.device], FrameModel]
    options: Callable[[], tuple[Option, ...]] = tuple
    from_file: bool = False


_COMMON = (
    Option("render_factor", 0, low=0, high=64, help="work on a square of factor x 16 pixels; 0: at full size"),
    Option("chroma_only", False, help="keep the luma of the source"),
)
_PRECISION = Option(
    "precision", "float32", choices=("float32", "float16", "bfloat16"), help="what numbers the network computes with"
)


def _options(architecture: str, entry: Entry | None) -> tuple[Option, ...]:
    asked = (Option("noncommercial", False, help="yes: your use is not commercial"),)
    return (*_BUILDERS[architecture].options(), *_COMMON, *(asked if entry and not entry.commercial else ()))


def _signature(module: str, name: str, skip: tuple[str, ...] = ()) -> Callable[[], tuple[Option, ...]]:
    """The options of a class or function: its parameters that have a default."""

    def options() -> tuple[Option, ...]:
        parameters = inspect.signature(getattr(import_module(module, __package__), name)).parameters
        return tuple(
            Option(key, parameter.default)
            for key, parameter in parameters.items()
            if key not in skip and isinstance(parameter.default, (bool, int, float, str))
        )

    return options


def _without_weights(module: str, name: str) -> _Builder:
    def make(_source: _Source, options: dict[str, Any], _device: torch.device) -> FrameModel:
        return getattr(import_module(module, __package__), name)(**options)

    return _Builder(make, _signature(module, name))


def _loaded(module: str, name: str = "load") -> _Builder:
    """An architecture whose module loads its own files: `load(path, *, device, **options)`."""

    def make(source: _Source, options: dict[str, Any], device: torch.device) -> FrameModel:
        return getattr(import_module(module, __package__), name)(source.path, device=device, **options)

    return _Builder(make, _signature(module, name, skip=("path", "device")), from_file=True)


def _network(module: str, name: str, *options: Option) -> _Builder:
    """A network of other people: `name(checkpoint, *, where, device, precision, **options)` makes a model of it."""

    def make(source: _Source, chosen: dict[str, Any], device: torch.device) -> FrameModel:
        extra = {"ends": source.ends} if source.ends else {}
        build_model = getattr(import_module(module, __package__), name)
        return build_model(source.checkpoint.tensors, where=str(source.path), device=device, **extra, **chosen)

    return _Builder(make, lambda: (*options, _PRECISION), from_file=True)


_STAGE2 = Option("finetune_stage2", False, help="run the second stage behind it: sharper, twice the time")
_SIGMA = Option("sigma", 20.0, low=0.0, high=75.0, help="standard deviation of the noise, in grey levels of 255")

_BUILDERS: Mapping[str, _Builder] = {
    "copy": _Builder(lambda _source, _options, _device: Copy()),
    "median": _without_weights(".classic.median", "Median"),
    "deflicker": _without_weights(".classic.deflicker", "Deflicker"),
    "film": _loaded(".film"),
    "edvr": _network(".video_models", "edvr", _STAGE2),
    "fastdvdnet": _network(".video_models", "fastdvdnet", _SIGMA),
    "image": _network(".image_models", "image_model"),
}
