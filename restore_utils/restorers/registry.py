"""What can be named: from `NAME:key=value,...`, a file or a URL to models that are ready to run.

A restorer is a folder here, named by one line in RESTORERS; see `restorer` for what it holds. One that needs no weights
is a model by its own name. Models with weights, and chains, are named in `models/zoo.toml`.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import re
import tomllib
import urllib.parse
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from restore_utils.core.model import FrameModel
from restore_utils.core.wrappers import ChromaOnly, RenderSize
from restore_utils.errors import ModelError, OptionError
from restore_utils.files.download import Progress
from restore_utils.restorers import weights
from restore_utils.restorers.building import MOST_FACTOR, common_options, make_model
from restore_utils.restorers.options import Option, as_text, parse_options, read_pairs
from restore_utils.restorers.restorer import Restorer, Source
from restore_utils.restorers.weights import WeightFile

RESTORERS = (
    "copy",
    "median",
    "deflicker",
    "steady",
    "film",
    "color",
    "revive",
    "widen",
    "upscale",
    "enhance",
    "edvr",
    "fastdvdnet",
    "unet",
    "colorist",
    "image",
)
"""The folders of this package that hold a restorer, in the order in which their models are listed."""

_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".tar")
USUAL_FACTOR = 40
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
    render_factor: int = 0
    """Of a network trained on squares: that of its default size, 40 in the tradition of DeOldify; 0: of any size."""
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
        if self.chain:  # of all its models
            named: dict[str, Option] = {}
            for option in (option for spec in self.chain for option in _entry(_split(spec)[0]).options):
                named.setdefault(option.name, option)
            return tuple(named.values())
        found = _options(self.architecture, self, self.render_factor)
        return tuple(option for option in found if option.name != "finetune_stage2" or self.stage2)


def restorer(name: str) -> Restorer:
    """The restorer of a folder: what its ENTRY says."""
    return import_module(f"{__package__}.{name}").ENTRY


def models() -> list[Entry]:
    """All models that have a name: those without weights, then those of models/zoo.toml."""
    return list(_zoo().values())


def build_all(
    specs: Sequence[str],
    *,
    device: torch.device | str = "cpu",
    options: Mapping[str, object] = MappingProxyType({}),
) -> list[FrameModel]:
    """The models that several texts name, in order.

    Args:
        options: for every model that has them, where its own text does not say otherwise.

    Raises:
        ModelError, OptionError: as `build`; and where no model takes one of the options.
    """
    common = {key: as_text(value) for key, value in options.items()}
    models = [model for spec in specs for model in build(spec, device=device, common=common)]
    if common.get("stretch") == "yes" and not any(model.options["stretch"] for model in models):
        raise OptionError(f"stretch: no model works on a square here: add a render factor, such as {USUAL_FACTOR}")
    for key, text in common.items():
        if not any(key in model.options for model in models):
            have = [entry.name for entry in _zoo().values() if key in {option.name for option in entry.options}]
            choose = f", or add one that does: {', '.join(have)}" if have else ""
            raise OptionError(f"no model here takes {key}={text}: leave it out{choose}")
    return models


def build(
    spec: str,
    *,
    device: torch.device | str = "cpu",
    options: Mapping[str, object] = MappingProxyType({}),
    common: Mapping[str, str] = MappingProxyType({}),
    progress: Progress | None = None,
) -> list[FrameModel]:
    """The models that a text names, ready on the device, to be run one after the other.

    Args:
        spec: `NAME`, `FILE` or `URL`, with options behind a colon: `fastdvdnet:sigma=20`. Those of a chain are for all
            of its models that have them.
        options: more of them, before those of the text.
        common: options for every model that has them, where the text does not say otherwise.
        progress: called with bytes done and bytes in all while weights are downloaded.

    Returns:
        One model or more. Each carries `name`, `options` (all of them, as used) and `fingerprint` (of its weights).

    Raises:
        ModelError: for an unknown name, or weights that cannot be had, trusted or used.
        OptionError: for an option that the model does not have, or a value that it does not take.
    """
    name, given = _split(spec)
    given |= {key: as_text(value) for key, value in options.items()}
    if name in _added:
        return [_make_added(name, _chosen(name, given, common, common_options(0)), device)]
    entry = _zoo().get(name)
    if entry is None:
        return [_build_file(name, given, common, device, progress)]
    if entry.chain:
        return _build_chain(entry, given, device, common, progress)
    if "finetune_stage2" in given and not entry.stage2:
        raise OptionError(f"{name} has no second stage: leave finetune_stage2 out")
    chosen = _chosen(name, given, common, entry.options)
    stage2 = chosen.pop("finetune_stage2", False)
    if not entry.commercial and not chosen.pop("noncommercial"):
        raise ModelError(
            f"the weights of {name} are for non-commercial use only ({entry.licence_weights}): write "
            f"{name}:noncommercial=yes if yours is"
        )
    path = weights.fetch(entry.weight_file, progress=progress) if entry.weight_file else None
    built = [_make(entry.architecture, Source(name, path, entry.ends), chosen, device)]
    if stage2:
        second = {key: value for key, value in given.items() if key != "finetune_stage2"}
        built += build(entry.stage2, device=device, options=second, common=common, progress=progress)
    return built


def _build_chain(
    entry: Entry,
    given: Mapping[str, str],
    device: torch.device | str,
    common: Mapping[str, str],
    progress: Progress | None,
) -> list[FrameModel]:
    """The models of a chain, each with those of the options that it has."""
    legal = [option.name for option in entry.options]
    for key in given:
        if key not in legal:
            raise OptionError(f"{entry.name} has no option {key!r}: its models have {', '.join(legal)}")
    built = []
    for part in entry.chain:
        has = {option.name for option in _entry(_split(part)[0]).options}
        own = {key: text for key, text in given.items() if key in has}
        built += build(part, device=device, options=own, common=common, progress=progress)
    return built


def check(spec: str) -> None:
    """Whether a text names a model and options that it takes, without fetching or building anything.

    Raises:
        ModelError, OptionError: as `build` does.
    """
    name, given = _split(spec)
    entry = _zoo().get(name)
    if name in _added or re.match(r"https?://", name) or Path(name).is_file():
        return
    if entry is None:
        if name.endswith(_SUFFIXES) or "/" in name or "\\" in name:
            raise ModelError(f"there is no weight file {name}: give another path, or a name: {', '.join(_zoo())}")
        if weights.find(WeightFile(f"{name}.safetensors")) is None:
            _entry(name)
    elif not entry.chain:
        _chosen(name, given, {}, entry.options)


def add(name: str, model: FrameModel, *, version: str = "") -> None:
    """Give a model of one's own a name, for as long as this program runs; adding it again replaces it.

    Args:
        model: networks that are attributes of it are put on the device that it is built for.
        version: pieces of a job finished under a version are taken as finished under the same; "": only until the
            model is added again.

    Raises:
        OptionError: when the name is one of the zoo, or could be taken for a file or for options.
    """
    if name in _zoo() or not re.fullmatch(r"[\w-]+", name):
        raise OptionError(
            f"{name!r} cannot be the name of a model of your own: choose another, of letters, digits and -"
        )
    _added[name] = (model, version or uuid.uuid4().hex)


_added: dict[str, tuple[FrameModel, str]] = {}


def with_second_stages(specs: Sequence[str]) -> list[str]:
    """The same texts, with finetune_stage2=yes for every model that has a second stage and says nothing of it.

    Raises:
        OptionError: when none of them has one; names the models that do.
    """
    staged, found = [], False
    for spec in specs:
        name, given = _split(spec)
        if name in _zoo() and _zoo()[name].stage2:
            found = True
            if "finetune_stage2" not in given:
                spec = f"{spec.strip()}{',' if given else ':'}finetune_stage2=yes"
        staged.append(spec)
    if not found:
        have = ", ".join(entry.name for entry in models() if entry.stage2)
        raise OptionError(
            f"{' + '.join(specs)} has no second stage: leave finetune_stage2 out, or choose one of {have}"
        )
    return staged


def _chosen(name: str, given: Mapping[str, str], common: Mapping[str, str], legal: Sequence[Option]) -> dict[str, Any]:
    """All options of a model as values."""
    known = {option.name for option in legal}
    options = parse_options(name, {**{key: text for key, text in common.items() if key in known}, **given}, legal)
    if options["stretch"] and not options["render_factor"]:
        if "stretch" in given:
            raise OptionError(f"{name} works at full size: stretch needs a render factor, such as {USUAL_FACTOR}")
        options["stretch"] = False
    return options


def _zoo() -> dict[str, Entry]:
    path = weights.shipped() / "zoo.toml"
    try:
        return _read_zoo(path, path.stat().st_mtime_ns)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ModelError(f"{path} is damaged ({why}): install the package again") from error
    except FileNotFoundError:
        raise ModelError(
            f"the list of models is missing: put zoo.toml at {path}, or install the package again"
        ) from None


_read: dict[tuple[Path, int], dict[str, Entry]] = {}


def _read_zoo(path: Path, changed_ns: int) -> dict[str, Entry]:
    if (path, changed_ns) not in _read:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        found = [restorer(name) for name in RESTORERS]
        entries = {kind.name: Entry(kind.name, kind.task, kind.name) for kind in found if kind.task}
        for table in data["model"]:
            facts = {**data["families"].get(table.pop("family", ""), {}), **table}
            facts = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
            entry = Entry(**facts)
            _check_entry(entry)
            if entry.name in entries:
                raise ModelError(f"{path} names {entry.name} twice: give one of them another name")
            entries[entry.name] = entry
        _read[path, changed_ns] = entries
    return _read[path, changed_ns]


def _check_entry(entry: Entry) -> None:
    """Raise TypeError or ValueError unless all that zoo.toml says of a model is of the kind that it is used as."""
    for field in fields(entry):
        value, kind = getattr(entry, field.name), {"bytes": int}.get(field.name, type(field.default))
        kind = kind if kind in (bool, int, tuple) else str
        if value is not None and type(value) is not kind:
            raise TypeError(f"{entry.name}: {field.name} = {value!r} is no {kind.__name__}")
        if kind is tuple and not all(isinstance(part, str) for part in value):
            raise TypeError(f"{entry.name}: {field.name} holds other things than text")
    if not re.fullmatch(r"[\w.-]+", entry.name) or "/" in entry.file or entry.file.startswith("."):
        raise ValueError(f"{entry.name!r} is no name, or {entry.file!r} no file beside it")
    if not entry.chain and entry.architecture not in RESTORERS:
        raise ValueError(f"{entry.name}: no architecture {entry.architecture!r}")
    if entry.sha256 is not None and not re.fullmatch("[0-9a-f]{8,64}", entry.sha256):
        raise ValueError(f"{entry.name}: {entry.sha256!r} is no SHA-256")


def _entry(name: str) -> Entry:
    entry = _zoo().get(name)
    if entry is None:
        close = difflib.get_close_matches(name, _zoo(), 1)
        meant = f"; did you mean {close[0]}?" if close else "."
        raise ModelError(f"there is no model {name!r}{meant} Models: {', '.join(_zoo())}; or give a weight file")
    return entry


def _split(spec: str) -> tuple[str, dict[str, str]]:
    """`NAME:key=value,...` as a name and its options; colons of URLs and drives stay in the name."""
    name, *rest = _OPTIONS_AT_END.split(spec.strip(), maxsplit=1)
    if not name:
        raise OptionError(f"{spec!r} does not name a model: write NAME or NAME:key=value")
    return name, read_pairs(rest[0]) if rest else {}


def _build_file(
    name: str,
    given: dict[str, str],
    common: Mapping[str, str],
    device: torch.device | str,
    progress: Progress | None,
) -> FrameModel:
    """A model from a weight file or a URL; its architecture is told from the file."""
    if re.match(r"https?://", name):
        found = Path(urllib.parse.urlsplit(name).path).name or "weights"
        # Different addresses have files of one name (model.pth): the address is made part of it.
        local = f"{hashlib.sha256(name.encode()).hexdigest()[:8]}-{found[-50:]}"
        path = weights.fetch(WeightFile(local, (name,), sha256=_digest(given)), progress=progress)
    elif Path(name).is_file():
        path = Path(name)
    elif name.endswith(_SUFFIXES) or "/" in name or "\\" in name:
        raise ModelError(f"there is no weight file {name}: give another path, or a name: {', '.join(_zoo())}")
    elif (path := weights.find(WeightFile(f"{name}.safetensors"))) is None:  # one's own, put into a folder of models
        _entry(name)
    source = Source(path.name, path)
    architecture = _recognise(source)
    options = _chosen(name, given, common, _options(architecture, None, _factor_of(path)))
    if options.pop("finetune_stage2", False):
        raise OptionError(
            f"a file has no second stage: name the file of the second stage as the next model, not {name}"
        )
    return _make(architecture, source, options, device)


def _digest(given: dict[str, str]) -> str | None:
    """The option sha256, taken out of those that are given."""
    if "sha256" not in given:
        return None
    digest = given.pop("sha256")
    if not re.fullmatch("[0-9a-fA-F]{8,64}", digest):
        raise OptionError(f"sha256={digest[:80]}: write 8 to 64 hexadecimal digits, or leave it out")
    return digest.lower()


def _recognise(source: Source) -> str:
    says = weights.metadata(source.path)
    stated = says.get("architecture", "film" if "dims" in says else None)
    kinds = [restorer(name) for name in RESTORERS]
    known = [kind.name for kind in kinds if kind.from_file]
    if stated in known:
        return stated
    if stated:
        raise ModelError(
            f"{source.path} says that it is a network {stated!r}, which is not known here: {', '.join(known)} are"
        )
    names = source.checkpoint.tensors.keys()
    return next((kind.name for kind in kinds if kind.recognises and kind.recognises(names)), "image")


def _make(architecture: str, source: Source, options: dict[str, Any], device: torch.device | str) -> FrameModel:
    inner = {key: value for key, value in options.items() if key not in {option.name for option in common_options(0)}}
    model, used = make_model(restorer(architecture), source, inner, torch.device(device))
    options = options | used
    model = _wrapped(model, options)
    model.name, model.options = source.name, options
    # A model may depend on more files than its weights, and then says so in its own fingerprint.
    own = getattr(model, "fingerprint", "")
    model.fingerprint = weights.fingerprint(source.path, {"own": own} if own else None) if source.path else own
    return model


def _make_added(name: str, options: dict[str, Any], device: torch.device | str) -> FrameModel:
    model, version = _added[name]
    for part in vars(model).values():
        if isinstance(part, nn.Module):
            part.to(device).eval()
    model = _wrapped(copy.copy(model), options)
    model.name, model.options, model.fingerprint = name, options, version
    return model


def _wrapped(model: FrameModel, options: Mapping[str, Any]) -> FrameModel:
    """The model as the options that all models have say."""
    if options["render_factor"]:
        model = RenderSize(model, options["render_factor"], stretch=options["stretch"])
    return ChromaOnly(model) if options["chroma_only"] else model


def _options(architecture: str, entry: Entry | None, render_factor: int) -> tuple[Option, ...]:
    asked = (Option("noncommercial", False, help="yes: your use is not commercial"),)
    asked = asked if entry and not entry.commercial else ()
    return (*restorer(architecture).options, *common_options(render_factor), *asked)


def _factor_of(path: Path) -> int:
    """The render factor that a weight file was trained for, as it says itself; 0 where it says nothing."""
    said = weights.metadata(path).get("render_factor", "")
    return int(said) if re.fullmatch("[0-9]{1,3}", said) and int(said) <= MOST_FACTOR else 0
