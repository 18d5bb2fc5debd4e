"""Segments that are compressed after they were sealed say, prove and are worth what they did before."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys

import pytest

from auditor.cli.main import main
from auditor.errors import LedgerInvalid, LedgerUnwritable, MissingExtra
from auditor.ledger import disk, first_genesis, next_attempt, read_ledger
from auditor.ledger.book import TOTALS_EVERY
from auditor.ledger.compressing import compress, compress_segment
from auditor.ledger.heads import present_heads
from auditor.ledger.keys import load_or_create
from auditor.ledger.merging import merge
from auditor.ledger.packed import FRAME_BYTES, Unpacked, open_segment, pack, zstd
from auditor.ledger.places import segment_paths
from tests.ledger.conftest import Run

zstd_there = pytest.importorskip("backports.zstd") if sys.version_info < (3, 14) else None

RANK = "rank-00000.attempt-000.jsonl"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two ranks and a launcher, which notes their heads; one segment is longer than a frame."""
    place = tmp_path_factory.mktemp("written")
    run = Run(place / "ledger", load_or_create(place / "key.pem"))
    run.segment(6 * TOTALS_EVERY, rank=0, expected_ranks=2)
    run.segment(2, rank=1, expected_ranks=2)
    run.launcher(2)
    assert run.path(RANK).stat().st_size > FRAME_BYTES
    return run


@pytest.fixture
def job(written, tmp_path):
    """A copy of that ledger."""
    return dataclasses.replace(written, directory=shutil.copytree(written.directory, tmp_path / "ledger"))


def packed(run, name=RANK):
    return run.path(f"{name}.zst")


def verdict(run, *more):
    return main(["verify", str(run.directory), "--require", "UNANCHORED", *more])


def test_a_compressed_ledger_reads_as_the_plain_one(job):
    before, merged, heads = job.read(), merge([job.directory]), present_heads(job.directory)
    done = list(compress(job.directory))
    assert [one.left for one in done] == ["", "", ""]
    assert all(one.packed_bytes < one.size_bytes for one in done)
    assert sorted(path.name for path in packed(job).parent.iterdir()) == [f"{one.name}.zst" for one in done]
    assert job.read() == before
    assert merge([job.directory]) == merged
    assert present_heads(job.directory) == heads


def test_the_verbs_read_it(job, tmp_path, capsys):
    assert main(["anchor", str(job.directory), "--no-qr", "--out", str(tmp_path / "before")]) == 0
    assert main(["compress", str(job.directory)]) == 0
    assert re.search(r"3 segments compressed, [0-9.]+ kB before and [0-9.]+ kB now", capsys.readouterr().out)
    assert main(["compress", str(job.directory)]) == 0
    assert "0 segments compressed" in capsys.readouterr().out
    for command in (
        ["verify", "--require", "WITNESSED", "--head", str(tmp_path / "before")],
        ["report"],
        ["status"],
        ["merge"],
        ["lineage", "show"],
        ["anchor", "--no-qr", "--out", str(tmp_path / "after")],
    ):
        assert main([*command, str(job.directory)]) == 0, command
    assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()
    for name in (RANK, f"{RANK}.zst", RANK.removesuffix(".jsonl")):
        proof = tmp_path / "proof"
        assert main(["prove", str(job.directory), name, "--line", "5", "--out", str(proof)]) == 0
        assert main(["verify", "--proof", str(proof)]) == 0


def test_any_tool_for_zstandard_gives_the_segment_back(job):
    whole = job.path(RANK).read_bytes()
    list(compress(job.directory))
    assert zstd().decompress(packed(job).read_bytes()) == whole
    if shutil.which("zstd"):
        assert subprocess.run(["zstd", "-dc", packed(job)], capture_output=True, check=True).stdout == whole


def test_any_place_of_it_can_be_read(job):
    whole = job.path(RANK).read_bytes()
    list(compress(job.directory))
    with open_segment(packed(job)) as file:
        assert file.seek(0, 2) == len(whole)
        for start, size in ((0, 10), (FRAME_BYTES - 5, 10), (len(whole) - 7, 100), (len(whole) + 5, 1), (3, -1)):
            file.seek(start)
            assert file.read(size) == whole[start : None if size < 0 else start + size]


def test_a_restart_takes_the_next_attempt_and_joins_the_run(job):
    list(compress(job.directory))
    assert next_attempt(job.directory, 0) == 1
    assert first_genesis(job.directory).run_id == job.run_id
    book = job.segment(expected_ranks=2)
    assert book.writer.path.name == "rank-00000.attempt-001.jsonl"
    assert verdict(job) == 0


# What stays as it is.


def test_what_is_not_sealed_written_or_damaged_is_left(job):
    job.segment(seal=False, rank=2, expected_ranks=3)
    damaged = job.path("rank-00001.attempt-000.jsonl")
    damaged.write_bytes(damaged.read_bytes().replace(b'"steps":6,', b'"steps":7,'))
    with job.path(RANK).open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        left = {one.name: one.left for one in compress(job.directory)}
    assert left["launcher.attempt-000.jsonl"] == ""
    assert left[RANK] == "it is still being written"
    assert left["rank-00001.attempt-000.jsonl"].startswith("lines ")
    assert left["rank-00002.attempt-000.jsonl"] == "it was never sealed"


# What a crash leaves.


@pytest.mark.parametrize("call", ["create", "append", "sync", "rename"])
def test_a_call_to_the_disk_that_fails_leaves_the_segment(job, monkeypatch, call):
    before = job.path(RANK).read_bytes()
    monkeypatch.setattr(disk, call, fails)
    with pytest.raises(LedgerUnwritable, match="cannot be compressed"):
        compress_segment(job.path(RANK))
    assert [path.name for path in job.path(RANK).parent.iterdir() if RANK in path.name] == [RANK]
    assert job.path(RANK).read_bytes() == before


def fails(*given):
    raise OSError(28, "no space")


def test_what_does_not_read_back_never_takes_the_place(job, monkeypatch):
    monkeypatch.setattr("auditor.ledger.compressing.pack", lambda blocks: pack(block[:-1] + b"!" for block in blocks))
    with pytest.raises(LedgerUnwritable, match="does not come to the same"):
        compress_segment(job.path(RANK))
    assert job.path(RANK).exists()
    assert not packed(job).exists()


def test_killed_between_the_two_names_both_stand_and_the_plain_one_counts(job, capsys):
    plain = job.path(RANK).read_bytes()
    list(compress(job.directory))
    job.path(RANK).write_bytes(plain)
    assert packed(job).exists()
    assert verdict(job) == 0
    assert "is a compressed copy" in capsys.readouterr().out
    assert [one.left for one in compress(job.directory)] == [""]
    assert not job.path(RANK).exists()
    assert verdict(job) == 0


def test_another_segment_under_the_compressed_name_is_never_passed_over_or_written_over(job, tmp_path, capsys):
    other = Run(tmp_path / "other", job.key)
    other.segment(9, expected_ranks=2)
    list(compress(other.directory))
    shutil.copy(packed(other), packed(job))
    for verb, code in (("verify", 4), ("merge", 4), ("status", 0)):
        assert main([verb, str(job.directory)]) == code
        assert "holds something else than the plain segment of that name" in capsys.readouterr().out
    (left, *others) = sorted(compress(job.directory), key=lambda one: one.name != RANK)
    assert "stands there, and holds something else" in left.left
    assert not any(one.left for one in others)
    assert packed(job).read_bytes() == packed(other).read_bytes()


def test_a_plain_one_that_was_cut_hides_no_compressed_one(job, capsys):
    plain = job.path(RANK).read_bytes()
    list(compress(job.directory))
    job.path(RANK).write_bytes(plain[: plain.index(b"\n", len(plain) // 2)])
    for verb in (["verify", "--require", "UNANCHORED"], ["merge"]):
        assert main([*verb, str(job.directory)]) == (5 if verb[0] == "verify" else 0)
        assert "goes on where the plain segment of that name ends" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["verify", "merge", "status", "check"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_compressed_while_it_is_read_is_found(job, monkeypatch, capsys, verb, jobs):
    def compressed_since(directory):
        paths = segment_paths(directory)
        list(compress(directory))
        return paths

    for module in ("reading", "merging"):
        monkeypatch.setattr(f"auditor.ledger.{module}.segment_paths", compressed_since)
    monkeypatch.setattr("auditor.ledger.effort._WORTH_A_PROCESS_BYTES", 0)
    more = ["--jobs", str(jobs)] if verb in ("verify", "merge") else []
    assert main([verb, str(job.directory), *more]) == 0
    assert not {"cannot be read", "INCOMPLETE"} & set(capsys.readouterr().out.split())


def test_what_is_no_file_is_left_and_the_others_are_compressed(job):
    os.mkfifo(job.path("rank-00000.attempt-001.jsonl"))
    job.path("rank-00000.attempt-002.jsonl").mkdir()
    left = {one.name: one.left for one in compress(job.directory)}
    assert sorted(why for why in left.values() if why) == [
        "it cannot be read: Is a directory",
        "it cannot be read: not a regular file",
    ]
    assert packed(job, "rank-00001.attempt-000.jsonl").exists()


def test_a_draft_of_a_process_that_was_killed_is_written_over(job):
    draft = job.path(f".{RANK}.zst.draft")
    draft.write_bytes(b"half")
    assert verdict(job) == 0
    assert compress_segment(job.path(RANK)).left == ""
    assert not draft.exists()


# What is false.


@pytest.mark.parametrize("at", [0, 1000, -1, -5, -9, -14, -30])
def test_every_change_shows(job, at):
    list(compress(job.directory))
    data = bytearray(packed(job).read_bytes())
    data[at] ^= 0x10
    packed(job).write_bytes(data)
    assert verdict(job) == 4


@pytest.mark.parametrize("keep", [0, 5, 100, -1, -200])
def test_a_compressed_segment_that_was_cut_is_invalid(job, keep):
    list(compress(job.directory))
    packed(job).write_bytes(packed(job).read_bytes()[:keep])
    assert verdict(job) == 4


def test_what_is_compressed_anew_from_other_bytes_is_invalid(job):
    lines = job.path(RANK).read_bytes().replace(b'"interval",[400,', b'"interval",[401,')
    job.path(RANK).unlink()
    packed(job).write_bytes(b"".join(pack([lines[:FRAME_BYTES], lines[FRAME_BYTES:]])))
    assert verdict(job) == 4


def test_a_bomb_is_refused_before_it_is_unpacked(job):
    list(compress(job.directory))
    bomb = b"".join(pack([b"\0" * FRAME_BYTES] * 400))
    assert len(bomb) < 400 * FRAME_BYTES / 1000
    packed(job).write_bytes(bomb)
    with open_segment(packed(job)) as file, pytest.raises(LedgerInvalid, match="more than 1000 times its size"):
        file.read(1)
    assert verdict(job) == 4


def test_a_frame_that_holds_more_than_the_table_says_is_refused(job):
    whole = job.path(RANK).read_bytes()
    data = bytearray(b"".join(pack([whole[:FRAME_BYTES], whole[FRAME_BYTES:]])))
    entry = len(data) - 9 - 16
    (packed_size, size) = struct.unpack_from("<II", data, entry)
    struct.pack_into("<II", data, entry, packed_size, size - 100)
    job.path(RANK).unlink()
    packed(job).write_bytes(data)
    assert verdict(job) == 4


def test_a_frame_that_asks_for_a_large_window_is_refused(job, tmp_path):
    module = zstd()
    options = {module.CompressionParameter.window_log: 27, module.CompressionParameter.content_size_flag: 0}
    compressor = module.ZstdCompressor(options=options)
    frame = compressor.compress(b"x" * 100) + compressor.flush()
    footer = struct.pack("<IBI", 1, 0, 0x8F92EAB1)
    table = struct.pack("<II", len(frame), 100)
    (tmp_path / "x").write_bytes(frame + struct.pack("<II", 0x184D2A5E, len(table) + len(footer)) + table + footer)
    with (tmp_path / "x").open("rb") as file, pytest.raises(LedgerInvalid, match="damaged"):
        Unpacked(file).read(1)


# Without the library.


@pytest.fixture
def bare(monkeypatch):
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)


def test_without_the_library_the_command_that_installs_it_is_named(job, monkeypatch, capsys):
    list(compress(job.directory))
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    for verb in ("verify", "merge", "status", "report"):
        assert main([verb, str(job.directory)]) == 2
        assert "pip install 'auditor[zstd]'" in capsys.readouterr().err
    with pytest.raises(MissingExtra):
        first_genesis(job.directory)


def test_without_the_library_nothing_is_compressed_and_a_training_goes_on(job, bare, capsys):
    assert main(["compress", str(job.directory)]) == 2
    assert "auditor[zstd]" in capsys.readouterr().err
    assert job.path(RANK).exists()


def test_without_the_library_a_training_takes_no_notice_of_compressed_segments(job, monkeypatch):
    list(compress(job.directory))
    for name in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    job.segment(expected_ranks=2)
    monkeypatch.undo()
    assert read_ledger(job.directory, recount=None).verdict == "UNANCHORED"


def test_in_several_processes(job):
    before = job.read()
    assert len(list(compress(job.directory, workers=2))) == 3
    assert job.read() == before
    assert merge([job.directory], workers=2).verdict is None
