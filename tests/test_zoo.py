"""The names, files and options that make models; and the data file behind them."""

from __future__ import annotations

import hashlib
import re

import pytest
import torch

from restore_utils.core import testing as contract
from restore_utils.core.adapters import per_frame, windowed
from restore_utils.errors import ModelError, OptionError
from restore_utils.restorers import registry as zoo
from restore_utils.restorers import weights
from restore_utils.restorers.edvr.network import EDVR, Dimensions
from restore_utils.restorers.fastdvdnet.network import FastDVDnet
from restore_utils.restorers.options import Option, read_pairs, write_pairs
from restore_utils.restorers.registry import RESTORERS, build, build_all, models, restorer, with_second_stages

NAMES = [entry.name for entry in models()]


@pytest.fixture
def own_zoo(tmp_path, monkeypatch):
    """A folder with small networks and a data file for them."""
    monkeypatch.setattr(zoo, "_added", {})

    def write(network: torch.nn.Module, name: str) -> str:
        torch.save({"params": network.state_dict()}, tmp_path / name)
        return hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()

    torch.manual_seed(0)
    small = {"channels": 8, "groups": 2, "front_blocks": 1, "back_blocks": 1}
    first = write(EDVR(Dimensions(**small)), "first.pth")
    second = write(EDVR(Dimensions(**small, hr_in=True)), "second.pth")
    noise = write(FastDVDnet(), "noise.pth")
    (tmp_path / "zoo.toml").write_text(
        f"""
        [families.edvr]
        architecture = "edvr"
        ends = "new_info"
        [[model]]
        name = "sharp"
        task = "x4"
        family = "edvr"
        stage2 = "sharp-stage2"
        file = "first.pth"
        sha256 = "{first}"
        [[model]]
        name = "sharp-stage2"
        task = "second pass"
        family = "edvr"
        file = "second.pth"
        sha256 = "{second[:8]}"
        [[model]]
        name = "noise"
        task = "noise"
        architecture = "fastdvdnet"
        commercial = false
        licence_weights = "for study only"
        file = "noise.pth"
        sha256 = "{noise}"
        [[model]]
        name = "absent"
        task = "x4"
        family = "edvr"
        file = "absent.pth"
        urls = ["http://127.0.0.1:9/absent.pth"]
        [[model]]
        name = "all"
        task = "both"
        chain = ["noise:noncommercial=yes,sigma=5", "sharp"]
        """
    )
    monkeypatch.setattr(weights, "shipped", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RESTORE_MODELS", raising=False)
    return tmp_path


def only(spec: str):
    (model,) = build(spec)
    return model


# --- the data file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", models(), ids=NAMES)
def test_every_entry_states_what_it_needs(entry):
    assert entry.task
    assert bool(entry.chain) != bool(entry.architecture)
    assert entry.architecture in {"", *RESTORERS}
    assert not entry.stage2 or entry.stage2 in NAMES
    for spec in entry.chain:
        assert spec.split(":")[0] in NAMES
    assert len(NAMES) == len(set(NAMES))
    for option in entry.options:
        assert isinstance(option, Option)
    if entry.urls:
        assert all(url.startswith("https://") for url in entry.urls)
        assert entry.licence_code
        assert entry.licence_weights
        assert entry.normalisation
        assert entry.origin.startswith("https://")
        assert entry.paper
        assert entry.sha256 is None or re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", entry.sha256)
        if entry.sha256 and len(entry.sha256) == 8:  # published in the name only
            assert entry.sha256 in entry.file


@pytest.mark.parametrize(
    ("name", "ends", "stage2"),
    [
        ("edvr-vid4", "new_info", ""),
        ("edvr-sharp-bicubic", "new_info", "edvr-sharp-bicubic-stage2"),
        ("edvr-blur-bicubic", "replicate", "edvr-blur-bicubic-stage2"),
        ("edvr-blur", "replicate", "edvr-blur-stage2"),
        ("edvr-blur-comp", "replicate", "edvr-blur-comp-stage2"),
    ],
)
def test_modes_of_edvr_have_the_authors_end_rule_and_second_stage(name, ends, stage2):
    entry = models()[NAMES.index(name)]
    assert (entry.ends, entry.stage2) == (ends, stage2)
    if stage2:
        assert models()[NAMES.index(stage2)].ends == ends


# --- names ------------------------------------------------------------------------------------------------------------


def test_copy_changes_nothing():
    film = contract.film(3, 20, 12)
    results = contract.run(only("copy"), film)
    assert torch.equal(contract.stacked(results), film)
    assert not any(result.mask.any() for result in results)
    assert only("copy").fingerprint == ""
    contract.check_model(only("copy"))


def test_chain_gives_its_models_in_order(own_zoo):
    built = build("all")
    assert [model.name for model in built] == ["noise", "sharp"]
    assert built[0].options["sigma"] == 5.0


def test_options_of_a_chain_are_for_all_of_its_models_that_have_them(own_zoo):
    noise, sharp = build("all:sigma=3,render_factor=0,precision=bfloat16")
    assert noise.options["sigma"] == 3.0  # before what the chain itself says
    assert (noise.options["precision"], sharp.options["precision"]) == ("bfloat16", "bfloat16")
    with pytest.raises(OptionError, match="all has no option 'sgima': its models have sigma, precision"):
        build("all:sgima=3")
    with pytest.raises(OptionError, match="sigma=99: it must be"):
        build("all:sigma=99")
    (entry,) = (entry for entry in models() if entry.name == "all")
    assert [option.name for option in entry.options][:2] == ["sigma", "precision"]


def test_options_for_all_models_that_have_them(own_zoo):
    noise, sharp = build_all(["noise:noncommercial=yes", "sharp"], options={"sigma": 7})
    assert noise.options["sigma"] == 7.0
    assert "sigma" not in sharp.options
    (noise,) = build_all(["noise:noncommercial=yes,sigma=9"], options={"sigma": 7})
    assert noise.options["sigma"] == 9.0
    with pytest.raises(
        OptionError, match="no model here takes sigma=7: leave it out, or add one that does: noise, all"
    ):
        build_all(["sharp"], options={"sigma": 7})
    with pytest.raises(OptionError, match=r"no model here takes colour=red: leave it out$"):
        build_all(["sharp"], options={"colour": "red"})


@pytest.mark.parametrize(
    "path", ["a, b.png", "C:\\films\\a,b.png", "it's, here.png", "x,y=z.png", 'say "so", then.png', "plain.png"]
)
def test_a_path_may_have_commas(path):
    text = write_pairs({"mask": path, "strength": 0.5, "grain": True})
    assert read_pairs(text) == {"mask": path, "strength": "0.5", "grain": "yes"}
    if "=" not in path and path[0] not in "'\"":
        assert read_pairs(f"mask={path},strength=0.5") == {"mask": path, "strength": "0.5"}


def test_models_say_what_they_are(own_zoo):
    model = only("sharp:precision=bfloat16")
    assert model.name == "sharp"
    assert model.options == {"precision": "bfloat16", "render_factor": 0, "stretch": False, "chroma_only": False}
    assert model.fingerprint == weights.fingerprint(own_zoo / "first.pth")
    assert only(str(own_zoo / "first.pth")).fingerprint == model.fingerprint


def test_second_stage_is_the_next_model(own_zoo):
    first, second = build("sharp:finetune_stage2=yes,precision=bfloat16")
    assert (first.name, second.name) == ("sharp", "sharp-stage2")
    assert second.options["precision"] == "bfloat16"
    assert "finetune_stage2" not in first.options
    film = contract.film(3, 16, 12)
    results = list(
        contract.restore(contract.stream_of(film), [first, second], contract.shots_of(film), start=0, stop=3)
    )
    assert contract.stacked(results).shape == (3, 3, 48, 64)
    with pytest.raises(OptionError, match="sharp-stage2 has no second stage"):
        build("sharp-stage2:finetune_stage2=yes")


def test_second_stage_is_an_option_only_where_there_is_one(own_zoo):
    has = {entry.name for entry in models() if "finetune_stage2" in {option.name for option in entry.options}}
    assert has == {"sharp", "all"}
    with pytest.raises(OptionError, match="noise has no second stage: leave finetune_stage2 out"):
        build("noise:finetune_stage2=no")


def test_non_commercial_weights_need_a_yes(own_zoo):
    with pytest.raises(ModelError, match=r"non-commercial use only \(for study only\): write noise:noncommercial=yes"):
        build("noise")
    assert only("noise:noncommercial=yes").options["sigma"] == 20.0


def test_list_says_what_is_here(own_zoo):
    named = {entry.name: entry.here for entry in models()}
    assert all(named.pop(name) for name in RESTORERS if restorer(name).task)  # what needs no weights is here always
    assert named == {
        "sharp": True,
        "sharp-stage2": True,
        "noise": True,
        "absent": False,
        "all": True,
    }
    with pytest.raises(ModelError, match=r"download it from http://127.0.0.1:9/absent.pth and put it at"):
        build("absent")


def test_unknown_name_lists_the_names(own_zoo):
    named = r"no model 'shrap'; did you mean sharp\? Models: copy, .*, sharp, sharp-stage2, noise"
    with pytest.raises(ModelError, match=named):
        build("shrap")
    with pytest.raises(ModelError, match=r"there is no weight file missing\.pth"):
        build("missing.pth:precision=float16")
    with pytest.raises(OptionError, match="does not name a model"):
        build(":a=b")


def test_wrong_hash_is_refused(own_zoo):
    with (own_zoo / "first.pth").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="not the published file"):
        build("sharp")


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("noise:noncommercial=yes,sgima=3", "noise has no option 'sgima': it has sigma, precision"),
        ("noise:noncommercial=yes,sigma=lots", "sigma=lots: write a number"),
        ("noise:noncommercial=yes,sigma=99", "sigma=99: it must be at least 0 and at most 75"),
        ("noise:noncommercial=yes,sigma=nan", "sigma=nan: it must be"),
        ("noise:noncommercial=perhaps", "noncommercial=perhaps: write yes or no"),
        ("noise:precision=float8", "precision=float8: choose one of float32, float16, bfloat16"),
        ("noise:render_factor=2.5", "render_factor=2.5: write a whole number"),
        ("noise:sigma=3,sigma=4", "sigma is given twice"),
        ("noise:sigma=3,4", "sigma=3,4: write a number"),
        ("noise:sigma=3, =4", "sigma=3, =4: write a number"),
    ],
)
def test_options_that_cannot_be_are_explained(own_zoo, spec, why):
    with pytest.raises(OptionError, match=why):
        build(spec)


def test_forms_may_give_21_as_a_float():
    assert Option("render_factor", 0).parse("21.0") == 21


def test_options_reach_the_model(own_zoo):
    film = contract.film(5, 24, 16)
    weak, strong = (
        contract.stacked(contract.run(only(f"noise:noncommercial=yes,sigma={sigma}"), film)) for sigma in (5, 50)
    )
    assert not torch.equal(weak, strong)


def test_render_factor_and_chroma_only_wrap_any_model(own_zoo):
    model = only("noise:noncommercial=yes,render_factor=2,chroma_only=yes")
    film = contract.film(5, 40, 24)
    answer = contract.stacked(contract.run(model, film))
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    assert ((answer - film) * luma).sum(1).abs().max() < 1e-5
    assert not torch.equal(answer, film)
    with pytest.raises(ModelError, match="changes the size of frames: leave render_factor out"):
        build("sharp:render_factor=4")


def test_a_network_trained_on_squares_has_their_size_as_its_default(own_zoo):
    tensors = FastDVDnet().state_dict()
    weights.save(own_zoo / "square.safetensors", tensors, {"architecture": "fastdvdnet", "render_factor": "40"})
    path = own_zoo / "square.safetensors"
    for spec, factor in ((str(path), 40), (f"{path}:render_factor=3", 3), (f"{path}:render_factor=0", 0)):
        model = only(spec)
        assert model.options["render_factor"] == factor
        assert getattr(model, "side", 0) == 16 * factor
    text = (own_zoo / "zoo.toml").read_text()
    (own_zoo / "zoo.toml").write_text(text.replace('name = "noise"', 'name = "noise"\nrender_factor = 24'))
    assert only("noise:noncommercial=yes").side == 24 * 16


def test_render_factor_and_stretch_of_a_whole_chain(own_zoo):
    path = own_zoo / "noise.pth"
    models = build_all([str(path), f"{path}:render_factor=2"], options={"render_factor": 4, "stretch": True})
    assert [(model.side, model.stretch) for model in models] == [(64, True), (32, True)]
    models = build_all([str(path), f"{path}:render_factor=2"], options={"stretch": True})
    assert [model.options["stretch"] for model in models] == [False, True]
    with pytest.raises(OptionError, match="stretch: no model works on a square here: add a render factor"):
        build_all([str(path)], options={"stretch": True})
    with pytest.raises(OptionError, match="stretch needs a render factor, such as 40"):
        build(f"{path}:stretch=yes")


def test_second_stages_of_a_whole_chain(own_zoo):
    specs = ["noise:noncommercial=yes", "sharp", "sharp:precision=bfloat16", "sharp:finetune_stage2=no"]
    assert with_second_stages(specs) == [
        "noise:noncommercial=yes",
        "sharp:finetune_stage2=yes",
        "sharp:precision=bfloat16,finetune_stage2=yes",
        "sharp:finetune_stage2=no",
    ]
    with pytest.raises(OptionError, match=r"noise has no second stage: leave finetune_stage2 out, or choose .* sharp"):
        with_second_stages(["noise"])


def test_a_model_of_ones_own_can_be_named(own_zoo):
    zoo.add("mine", windowed(lambda window: window[0], 0, 0), version="1")
    film = contract.film(2, 40, 24)
    zoo.add("darker", per_frame(lambda frames: frames / 2))
    models = build_all(["darker", "darker:render_factor=2"])
    assert [(model.name, model.options["render_factor"]) for model in models] == [("darker", 0), ("darker", 2)]
    assert models[1].side == 32
    assert torch.equal(contract.stacked(contract.run(models[0], film)), film / 2)
    assert only("mine").fingerprint == "1"
    first = only("darker").fingerprint
    assert only("darker").fingerprint == first
    zoo.add("darker", per_frame(lambda frames: frames / 3))
    assert only("darker").fingerprint != first
    for name in ("sharp", "a.pth", "a:b=c", ""):
        with pytest.raises(OptionError, match="cannot be the name of a model of your own"):
            zoo.add(name, models[0])


# --- files ------------------------------------------------------------------------------------------------------------


def test_file_is_recognised_by_what_is_in_it(own_zoo):
    assert only(str(own_zoo / "first.pth")).out_size(10, 10) == (40, 40)
    assert only(f"{own_zoo / 'noise.pth'}:sigma=7").options["sigma"] == 7.0
    with pytest.raises(OptionError, match="a file has no second stage"):
        build(f"{own_zoo / 'first.pth'}:finetune_stage2=yes")


def test_file_that_says_what_it_is(own_zoo):
    weights.save(own_zoo / "a.safetensors", EDVR(Dimensions(8, 3, 2, 1, 1)).state_dict(), {"architecture": "edvr"})
    model = only(str(own_zoo / "a.safetensors"))
    assert (model.window_before, model.window_after) == (1, 1)
    weights.save(own_zoo / "b.safetensors", {"a": torch.ones(1)}, {"architecture": "vrt"})
    with pytest.raises(
        ModelError, match=r"says that it is a network 'vrt', which is not known here: film, .*edvr, .* are"
    ):
        build(str(own_zoo / "b.safetensors"))


def test_url_is_a_file_too(own_zoo):
    with pytest.raises(
        ModelError, match=r"-net\.pth is not here and could not be fetched \(http://127.0.0.1:9/net.pth"
    ):
        build("http://127.0.0.1:9/net.pth:sha256=" + "0" * 64)


def test_fastdvdnet_keeps_the_contract_of_models(own_zoo):
    contract.check_model(only("noise:noncommercial=yes,sigma=10"), 22, 18)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[[model",
        "model = 3\nfamilies = 4",
        "[families]\n[[model]]\nname = 5",
        '[families]\n[[model]]\nname = "x"\ntask = "t"\narchitecture = "none"',
        '[families]\n[[model]]\nname = "x"\ntask = "t"\narchitecture = "film"\nsha256 = "no"',
        '[families]\n[[model]]\nname = "x"\ntask = "t"\narchitecture = "film"\nfile = "../../x"',
        '[families]\n[[model]]\nname = "x"\ntask = "t"\narchitecture = "film"\nbytes = "many"',
        '[families]\n[[model]]\nname = "x"\ntask = "t"\nmore = 1',
        'families = 1\n[[model]]\nfamily = "edvr"',
    ],
    ids=range(10),
)
def test_a_damaged_list_of_models_is_one_line(tmp_path, monkeypatch, text):
    (tmp_path / "zoo.toml").write_text(text)
    monkeypatch.setattr("restore_utils.restorers.weights.shipped", lambda: tmp_path)
    with pytest.raises(ModelError, match=r"zoo.toml is damaged .*: install the package again"):
        zoo.models()


def test_checksums_that_are_none_are_refused_and_http_without_one_warns(monkeypatch, caplog):
    with pytest.raises(OptionError, match="hexadecimal"):
        zoo.build("https://127.0.0.1:9/m.pth:sha256=")
    monkeypatch.setattr("restore_utils.files.download.PAUSE_S", 0)
    for address, warns in (("http://127.0.0.1:9/m.pth", True), (f"http://127.0.0.1:9/m.pth:sha256={'a' * 64}", False)):
        caplog.clear()
        with pytest.raises(ModelError):
            zoo.build(address)
        assert ("anybody on the way" in caplog.text) == warns


@pytest.mark.parametrize("spec", [f"median:strength={'9' * 5000}", f"median:render_factor={'9' * 5000}"])
def test_numbers_of_5000_digits_are_one_line(spec):
    with pytest.raises(OptionError):
        zoo.build(spec)
