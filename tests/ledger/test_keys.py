from __future__ import annotations

import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from auditor.errors import ExitCode, KeyFileError
from auditor.ledger import load_or_create, read_public_key
from auditor.ledger.keys import verify

if TYPE_CHECKING:
    from pathlib import Path


def test_first_use_makes_a_key_for_its_owner_alone_and_later_ones_read_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key.pem"
    before = os.umask(0)
    try:
        key = load_or_create(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create(path).public_hex == key.public_hex
    assert [file.name for file in path.parent.iterdir()] == ["key.pem"]


def test_a_signature_is_bound_to_key_and_data(tmp_path: Path) -> None:
    key, other = load_or_create(tmp_path / "a"), load_or_create(tmp_path / "b")
    signature = key.sign(b"data")
    assert verify(key.public_hex, signature, b"data")
    assert not verify(key.public_hex, signature, b"date")
    assert not verify(other.public_hex, signature, b"data")
    assert not verify("no key", signature, b"data")
    assert not verify(key.public_hex, b"short", b"data")


def test_the_private_half_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = load_or_create(path)
    assert repr(key) == f"SigningKey({key.public_hex})"


def test_processes_that_race_at_first_use_end_with_one_key(tmp_path: Path) -> None:
    program = "import sys, pathlib; from auditor.ledger import load_or_create as load; print(flush=True); input();"
    program += "[print(i, load(pathlib.Path(sys.argv[1], str(i))).public_hex) for i in range(30)]"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    told = {tuple(racer.communicate(timeout=60)[0].splitlines()) for racer in racers}
    assert told == {tuple(f"{i} {load_or_create(tmp_path / str(i)).public_hex}" for i in range(30))}
    assert {file.name for file in tmp_path.iterdir()} == set(map(str, range(30)))


def pem(key: object, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)  # type: ignore[attr-defined]


BAD_KEYS = {
    "encrypted": (pem(Ed25519PrivateKey.generate(), b"secret"), "encrypted"),
    "another kind": (pem(generate_private_key(SECP256R1())), "Ed25519"),
    "truncated": (pem(Ed25519PrivateKey.generate())[:60], "cut short"),
    "empty": (b"", "cut short"),
    "noise": (os.urandom(200), "cut short"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_what_is_no_plain_ed25519_key_is_refused_with_a_remedy(tmp_path: Path, name: str) -> None:
    data, expected = BAD_KEYS[name]
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=expected) as caught:
        load_or_create(path)
    assert str(path) in str(caught.value)
    assert caught.value.remedy
    assert caught.value.exit_code is ExitCode.USAGE
    assert path.read_bytes() == data


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o777])
def test_a_key_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    load_or_create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"{mode:04o}") as caught:
        load_or_create(path)
    assert "chmod 600" in caught.value.remedy


def test_directories_pipes_and_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    for name in ("folder", "pipe", "link", "file/key"):
        with pytest.raises(KeyFileError, match=name):
            load_or_create(tmp_path / name)


def test_a_public_key_is_read_from_hex_and_from_files(tmp_path: Path) -> None:
    key = load_or_create(tmp_path / "key")
    public = tmp_path / "public.pem"
    parsed = Ed25519PrivateKey.generate().public_key()
    public.write_bytes(parsed.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "hex").write_text(key.public_hex.upper() + "\n")
    assert read_public_key(f" {key.public_hex}\n") == key.public_hex
    assert read_public_key(tmp_path / "key") == key.public_hex
    assert read_public_key(str(tmp_path / "hex")) == key.public_hex
    assert read_public_key(public) == parsed.public_bytes_raw().hex()


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "a" * 63, "/nowhere/key", "\0"])
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(KeyFileError):
        read_public_key(text)


def test_a_file_that_holds_no_public_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    path.write_bytes(os.urandom(100))
    with pytest.raises(KeyFileError, match="noise"):
        read_public_key(path)
