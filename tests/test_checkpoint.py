"""Weight files of strangers: read whatever they are wrapped in, refused where they lie, and never run."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from restore_utils.errors import ModelError
from restore_utils.restorers import checkpoint, weights

TENSORS = {
    "a.weight": torch.arange(12.0).view(3, 4),
    "transposed": torch.arange(6.0).view(2, 3).t(),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "none": torch.zeros(0),
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", ["", "params_ema", "params", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_torch_files_are_read_whatever_they_are_wrapped_in(tmp_path, zipped, wrap, prefix):
    tensors = {prefix + name: tensor for name, tensor in TENSORS.items()}
    saved = {wrap: tensors, "epoch": 3, "meta": {"name": "x"}} if wrap else tensors
    torch.save(saved, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    found = checkpoint.read(tmp_path / "x.pth").tensors
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_parameters_and_state_dicts_of_modules_are_read(tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / "a.pth")
    torch.save(dict(module.named_parameters()), tmp_path / "b.pth")
    found = checkpoint.read(tmp_path / "a.pth").tensors
    assert all(torch.equal(found[name], tensor) for name, tensor in module.state_dict().items())
    assert checkpoint.read(tmp_path / "b.pth").tensors.keys() == dict(module.named_parameters()).keys()


def test_saved_file_comes_back_with_what_is_said_about_it(tmp_path):
    weights.save(tmp_path / "x.safetensors", TENSORS, {"architecture": "edvr", "licence": "MIT"})
    found = checkpoint.read(tmp_path / "x.safetensors")
    assert all(torch.equal(found.tensors[name], TENSORS[name]) for name in TENSORS)
    assert (
        found.metadata == {"architecture": "edvr", "licence": "MIT"} == checkpoint.metadata(tmp_path / "x.safetensors")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


class Command:
    """A pickle of it touches a file when it is loaded freely."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, zipped):
    trace = tmp_path / "was here"
    torch.save({**TENSORS, "x": Command(trace)}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelError, match=r"wants to run \w+\.getattr") as caught:
        checkpoint.read(tmp_path / "x.pth")
    assert not trace.exists()
    assert "\n" not in str(caught.value)


def test_bare_pickle_with_code_is_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Command(tmp_path / "was here")))
    with pytest.raises(ModelError, match="wants to run"):
        checkpoint.read(tmp_path / "x.pth")
    assert not (tmp_path / "was here").exists()


def safetensors(header: dict, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


LIES = {
    "header longer than the file": struct.pack("<Q", 1 << 60) + b'{"a":1}',
    "tensor beyond the end": safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"1234"),
    "shape larger than its bytes": safetensors(
        {"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}, b"1234"
    ),
    "tensors that overlap": safetensors(
        {name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for name in "ab"}, b"1234"
    ),
    "header that is no JSON": struct.pack("<Q", 5) + b"{abcd",
    "web page": b"<!DOCTYPE html><html>",
    "nothing": b"",
    "noise": bytes(range(100, 200)),
    "pickle cut off": pickle.dumps(list(range(1000)), protocol=2)[:200],
}


@pytest.mark.parametrize("lie", LIES)
def test_files_that_lie_are_refused(tmp_path, lie):
    path = tmp_path / "x.safetensors"
    path.write_bytes(LIES[lie])
    with pytest.raises(ModelError) as caught:
        checkpoint.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as target:
        for name, data in entries.items():
            target.writestr(name, data)
    return held.getvalue()


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    bomb = archive({"x/data.pkl": b"", "x/data/0": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 100_000
    (tmp_path / "x.pth").write_bytes(bomb)
    with pytest.raises(ModelError, match="compressed archive"):
        checkpoint.read(tmp_path / "x.pth")


def test_archive_whose_entries_claim_more_than_it_has_is_refused(tmp_path):
    data = bytearray(archive({"x/data.pkl": b"N.", "x/data/0": b"0" * 1000}))
    entry = data.rindex(b"PK\x01\x02")  # the last record of the directory: sizes at bytes 20 and 24 of it
    data[entry + 20 : entry + 28] = struct.pack("<II", 1 << 31, 1 << 31)
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(ModelError, match="claim more bytes"):
        checkpoint.read(tmp_path / "x.pth")


def test_torch_file_that_is_cut_off_is_refused(tmp_path):
    for zipped in (True, False):
        torch.save(TENSORS, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
        whole = (tmp_path / "x.pth").read_bytes()
        (tmp_path / "x.pth").write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(ModelError, match=r"cut off|broken"):
            checkpoint.read(tmp_path / "x.pth")


class Storage:
    """Stands for a tensor that claims more than is stored of it."""

    def __init__(self, shape: tuple[int, ...], stride: tuple[int, ...], count: int) -> None:
        self.shape, self.stride, self.count = shape, stride, count

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, (_Mark(self.count), 0, self.shape, self.stride, False, {})


class _Mark:
    def __init__(self, count: int) -> None:
        self.count = count


class _Pickler(pickle.Pickler):
    def persistent_id(self, found: object) -> object:
        return ("storage", torch.FloatStorage, "0", "cpu", found.count) if isinstance(found, _Mark) else None


@pytest.mark.parametrize(
    ("tensor", "why"),
    [
        (Storage((1 << 20, 1 << 20), (0, 0), 4), "larger than what is stored"),  # repeats one number 10^12 times
        (Storage((8,), (1,), 4), "larger than what is stored"),
        (Storage((2, 2), (1 << 30, 1), 4), "larger than what is stored"),
        (Storage((-1,), (1,), 4), "not made of numbers"),
        (Storage((4,), (1,), 1 << 40), "fewer bytes than claimed"),
    ],
)
def test_tensors_that_claim_more_than_is_stored_are_refused(tmp_path, tensor, why):
    held = io.BytesIO()
    _Pickler(held, protocol=2).dump({"a": tensor})
    (tmp_path / "x.pth").write_bytes(archive({"x/data.pkl": held.getvalue(), "x/data/0": bytes(16)}))
    with pytest.raises(ModelError, match=why):
        checkpoint.read(tmp_path / "x.pth")


def test_pickle_that_asks_for_memory_gets_none(tmp_path):
    huge_memo = b"\x80\x02Nr\xff\xff\xff\xff."  # stores None under the number 2^32 - 1
    (tmp_path / "x.pth").write_bytes(archive({"x/data.pkl": huge_memo}))
    with pytest.raises(ModelError, match="no named tensors"):
        checkpoint.read(tmp_path / "x.pth")


def test_whole_network_instead_of_a_state_dict_says_what_to_save(tmp_path):
    torch.save([torch.ones(3)], tmp_path / "x.pth")
    with pytest.raises(ModelError, match="save the network's state dict"):
        checkpoint.read(tmp_path / "x.pth")


def test_safetensors_is_known_whatever_its_header_is_long(tmp_path):
    lengths = set()
    for count in range(40):
        path = tmp_path / "net.safetensors"
        weights.save(path, {"x": torch.ones(1)}, {"note": "a" * 8 * count})
        lengths.add(path.read_bytes()[0])
        assert weights.read(path).tensors["x"] == 1
    assert 0x80 in lengths  # also the first byte of a pickle


@pytest.mark.parametrize("zipped", [True, False])
def test_byte_arrays_that_claim_gigabytes_get_none(tmp_path, zipped):
    path = tmp_path / "huge.pth"
    claim = b"\x80\x05\x96" + (12 << 30).to_bytes(8, "little") + b"abc."
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", claim)
    else:
        path.write_bytes(claim)
    with pytest.raises(ModelError, match="byte arrays"):
        checkpoint.read(path)


def test_names_in_an_archive_that_are_no_text_are_damage(tmp_path):
    path = tmp_path / "names.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/dätä.pkl", b"x")
    path.write_bytes(path.read_bytes().replace("ä".encode(), b"\xff\xff"))
    with pytest.raises(ModelError, match="cut off or broken"):
        checkpoint.read(path)
