"""Digests of checkpoints, held against sha256sum and against torch and safetensors themselves."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auditor.lineage.files import Missed, digest_file, digest_path, open_file

TENSORS = {"a": torch.arange(12.0).reshape(3, 4), "none": torch.ones(0, 2), "c": torch.arange(10), "s": torch.tensor(3)}


@pytest.fixture
def save_file():
    return pytest.importorskip("safetensors.torch").save_file


def test_a_file_has_the_sha256_of_its_bytes_whatever_it_is_called(tmp_path):
    torch.save(TENSORS, tmp_path / "a.pt")
    shutil.copy(tmp_path / "a.pt", tmp_path / "b.bin")
    first, second = digest_path(tmp_path / "a.pt"), digest_path(tmp_path / "b.bin")
    assert first == second
    assert first.digest == hashlib.sha256((tmp_path / "a.pt").read_bytes()).hexdigest()
    assert (first.form, first.size_bytes) == ("torch", (tmp_path / "a.pt").stat().st_size)


def test_what_holds_tensors_is_told_by_what_is_in_it(tmp_path, save_file):
    torch.save(TENSORS, tmp_path / "archive")
    torch.save(TENSORS, tmp_path / "legacy", _use_new_zipfile_serialization=False)
    save_file(TENSORS, tmp_path / "safe")
    torch.save({"lr": 0.1}, tmp_path / "plain")
    (tmp_path / "text").write_text("{}")
    (tmp_path / "empty").write_bytes(b"")
    forms = {path.name: digest_path(path).form for path in tmp_path.iterdir()}
    assert forms == {
        "archive": "torch",
        "legacy": "torch",
        "safe": "safetensors",
        "plain": "other",
        "text": "other",
        "empty": "other",
    }


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="there is no sha256sum")
def test_a_folder_has_the_digest_that_two_commands_give(tmp_path):
    (tmp_path / "deeper").mkdir()
    for name in ("b.pt", "B.pt", "deeper/a.pt", "ä.pt", "a b.pt"):
        torch.save({"x": torch.full((3,), len(name))}, tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    command = "find . -name '*.pt' -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    told = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    found = digest_path(tmp_path)
    assert found.digest == told.split()[0]
    assert sorted(file.name for file in found.files) == sorted(["b.pt", "B.pt", "deeper/a.pt", "ä.pt", "a b.pt"])


def test_tensors_have_one_digest_however_they_are_laid_out(tmp_path, save_file):
    (tmp_path / "shards").mkdir()
    save_file(TENSORS, tmp_path / "one.safetensors")
    save_file(dict(reversed(TENSORS.items())), tmp_path / "turned.safetensors", metadata={"format": "pt"})
    save_file({name: TENSORS[name] for name in ("a", "s")}, tmp_path / "shards" / "1.safetensors")
    save_file({name: TENSORS[name] for name in ("none", "c")}, tmp_path / "shards" / "2.safetensors")
    digests = {digest_path(tmp_path / name).tensors for name in ("one.safetensors", "turned.safetensors", "shards")}
    assert len(digests) == 1
    assert digests != {""}
    others = [
        TENSORS | {"a": TENSORS["a"] + 1},
        TENSORS | {"a": TENSORS["a"].reshape(4, 3)},
        {"b" if name == "a" else name: tensor for name, tensor in TENSORS.items()},
        TENSORS | {"s": torch.tensor(3).view(torch.float64)},
        {name: tensor for name, tensor in TENSORS.items() if name != "none"},
    ]
    for number, other in enumerate(others):
        save_file(other, tmp_path / f"{number}.safetensors")
        digests.add(digest_path(tmp_path / f"{number}.safetensors").tensors)
    assert len(digests) == 1 + len(others)


def test_the_digest_of_tensors_is_what_the_document_says(tmp_path, save_file):
    save_file({"w": torch.tensor([[1, 2]], dtype=torch.uint8)}, tmp_path / "w")
    line = f'["w","U8",[1,2],"{hashlib.sha256(bytes([1, 2])).hexdigest()}"]\n'
    assert digest_path(tmp_path / "w").tensors == hashlib.sha256(line.encode()).hexdigest()


def test_blocks_make_no_difference(tmp_path, save_file, monkeypatch):
    save_file(TENSORS, tmp_path / "w")
    whole = digest_path(tmp_path / "w")
    for size in (1, 7, 64):
        monkeypatch.setattr("auditor.lineage.files._BLOCK_BYTES", size)
        assert digest_path(tmp_path / "w") == whole


@given(st.binary(max_size=300), st.integers(0, 400))
def test_whatever_the_bytes_there_is_a_digest_and_no_traceback(tmp_path_factory, data, length):
    path = tmp_path_factory.mktemp("any") / "file"
    for whole in (data, length.to_bytes(8, "little") + b"{" + data, b"PK\x03\x04" + data):
        path.write_bytes(whole)
        assert digest_path(path).digest == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize(
    "header",
    [
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,99]}}',
        '{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}',
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}',
        '{"a":{"dtype":"F32","shape":"x","data_offsets":[0,4]}}',
        '{"a":[]}',
        "{[",
    ],
)
def test_a_header_that_is_false_leaves_the_digest_of_the_bytes(tmp_path, header):
    path = tmp_path / "false"
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(8))
    found = digest_path(path)
    assert (found.tensors, found.digest) == ("", hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_file_that_changes_while_it_is_read_has_no_digest(tmp_path, monkeypatch):
    monkeypatch.setattr("auditor.lineage.files._BLOCK_BYTES", 64)
    path = tmp_path / "growing"
    path.write_bytes(bytes(1000))

    def grow() -> bool:
        with path.open("ab") as file:
            file.write(b"x")
        return False

    with open_file(path) as file, pytest.raises(Missed, match="changed while it was read"):
        digest_file(file, "growing", grow)
    path.write_bytes(bytes(1000))
    with open_file(path) as file, pytest.raises(Missed, match="the run ended"):
        digest_file(file, "growing", lambda: True)


def test_what_is_no_file_has_no_digest(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Missed, match="could not be read"):
        digest_path(tmp_path / "pipe")
    with pytest.raises(Missed, match="No such file"):
        digest_path(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Missed, match="holds no files"):
        digest_path(tmp_path / "folder")
    (tmp_path / "folder" / "a\nb").write_text("x")
    with pytest.raises(Missed, match="line break"):
        digest_path(tmp_path / "folder")


def test_a_link_leads_to_its_file(tmp_path):
    torch.save(TENSORS, tmp_path / "blob")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "model.pt").symlink_to(tmp_path / "blob")
    assert digest_path(tmp_path / "snapshot").files[0].sha256 == digest_path(tmp_path / "blob").digest
