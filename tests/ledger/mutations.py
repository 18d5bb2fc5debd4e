"""Ledgers gone wrong, each made from a few bytes: what hypothesis draws and what a fuzzer finds are the same thing.

The bytes are a small program. It changes the records of a whole ledger as JSON and as text, has them signed by the
ledger's own key (nonsense that is well signed goes further into a verifier than random bytes do), and then changes the
file: flips, cuts, copies, zeros, lines moved.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auditor.errors import AuditorError
from auditor.formulas import TABLE, Pricer
from auditor.ledger import Recount, SigningKey, read_ledger, recover
from auditor.ledger.book import TOTALS_EVERY
from auditor.ledger.log import Draft
from auditor.ledger.merkle import Frontier
from auditor.ledger.notes import Signer
from auditor.ledger.rotation import make_rotation
from auditor.lines import read_checkpoint, read_record, write_record
from auditor.records import (
    TALLIES_LIMIT_BYTES,
    Alert,
    Exit,
    Genesis,
    NotedHeads,
    Record,
    Recovered,
    Resumed,
    SecondOpinion,
    Synced,
    Updates,
)
from tests.ledger.conftest import WEIGHTS, Run, add_placed, records_of

if TYPE_CHECKING:
    from collections.abc import Callable

RANK = "rank-00000.attempt-000.jsonl"
LAUNCHER = "launcher.attempt-000.jsonl"
FALSE = {"INVALID", "LedgerInvalid"}
_FIRST_US = 1_795_410_449_000_000
_VALUES: list[Any] = [
    0, 1, -1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 0.5, 1e308, True, None, "", "0", "-1", "1e26", "007",
    "\u0661", "9" * 40, "9" * 5000, "\ud800", "\0", "x" * 70_000, [], [[]], {}, {"a": 1}, "evaluation", "backward",
    "aten::mm", '["float32[4,8]","float32[8,2]"]', "[" * 500, "auditor.ledger/3", "auditor.ledger/4", "rank", "a" * 64,
    "../../etc/passwd", "cut/x",
]  # fmt: skip
_TEXTS = [
    b" ", b"\0", b"\r", b'"', b"[", b"]", b"\xff", b"0", b"-", b"e5", b"\\u0041", b",", b'"checkpoint"', b"9" * 600,
]  # fmt: skip
_CUT = b"torn!"
_FORMER_KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"another key of tests, no secret\0"))
UPDATES = Updates(
    number=0, optimizer="SGD", step=1, operations="8", parts=(("DistributedDataParallel", 2, "a" * 32, 2, 8, "b" * 32),)
)
_WEIGHTS = replace(
    WEIGHTS, name="model.safetensors", form="safetensors", step=4, size_bytes=8, files=(("a" * 64, 8, ""),)
)


class Choices:
    """What to do next, as the bytes say; where they are at their end, nothing."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def below(self, number: int) -> int:
        """A number from 0 on, of as many bytes as it takes."""
        size = 1 if number <= 256 else 2
        taken = self._data[self._at : self._at + size]
        self._at += size
        return int.from_bytes(taken, "little") % number if number else 0

    def of(self, things: Any) -> Any:
        """One of these."""
        return things[self.below(len(things))]


@dataclass(frozen=True)
class Golden:
    """The lines of two whole segments of one run, by name, without checkpoints, and the key that signs them."""

    lines: dict[str, tuple[bytes, ...]]
    genesis: dict[str, Genesis]
    key: SigningKey


@functools.cache
def golden() -> Golden:
    """Every kind of record that there is, the same on each machine and day."""
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(b"a key of the tests, not secret\0\0"))
    with tempfile.TemporaryDirectory() as place:
        run = Run(Path(place), key)
        _write(run)
        records = {name: records_of(run.path(name)) for name in (RANK, LAUNCHER)}
    times = itertools.count(_FIRST_US, 1000)
    lines = {
        name: tuple(write_record(replace(record, time_us=next(times))) for record in of_segment)
        for name, of_segment in records.items()
    }
    return Golden(lines, {name: of_segment[0].body for name, of_segment in records.items()}, key)


def _write(run: Run) -> None:
    book = run.book(nonce="0" * 32)
    run.interval(book, 0)
    run.interval(book, 1)
    book.purpose("evaluation")
    book.gap("hardware", "no driver", lower_bound=False)
    book.second_opinion(
        SecondOpinion(
            counter="fvcore",
            model="Tiny",
            inputs="[]",
            ours="8",
            theirs="8",
            unavailable="",
            explained=({"operator": "aten::mm"},),
            modules=(("", "Tiny", "8"),),
        )
    )
    for energy in ("5", "6"):
        book.hardware("observed", "GPU-1", {"energy_mj": energy})
    book.append(Recovered(segment=RANK, kept_as="cut/x", cut_bytes=5, sha256=hashlib.sha256(_CUT).hexdigest()))
    book.writer.append(Synced(size_bytes=100))
    book.updates(UPDATES)
    book.append(_WEIGHTS)
    book.append(Resumed(run_id="another", segment=RANK, step=3, operations="8", note=""))
    book.writer.append(make_rotation(_FORMER_KEY, book.writer.genesis.public_key, number=1, made_us=_FIRST_US))
    book._known._size_bytes += TALLIES_LIMIT_BYTES
    book._intervals = TOTALS_EVERY
    run.interval(book, 2, size=9)
    book.seal("finished")
    launcher = run.book(nonce="1" * 32, role="launcher", expected_ranks=0, counter="", devices=())
    launcher.append(Exit(code=0, signal=0, processes=1))
    launcher.append(Alert(name="executed@1", level="1", rule="", at="1", counted="8", told="webhook"))
    launcher.seal("finished")


@dataclass
class Mutant:
    """The files of a ledger gone wrong; ``signed``: everything that was changed was signed by its key afterwards."""

    files: dict[str, bytes]
    signed: bool


def mutant(data: bytes) -> Mutant:
    """The ledger that these bytes make."""
    choices, base = Choices(data), golden()
    lines = {name: list(of_segment) for name, of_segment in base.lines.items()}
    name = choices.of([RANK, RANK, LAUNCHER])
    for _ in range(choices.below(5)):
        choices.of(_RECORD_CHANGES)(choices, lines[name])
    each = choices.of([1, 1, 3, 100])
    files = {RANK: _signed(lines[RANK], base.genesis[RANK], base.key, each)}
    lines[LAUNCHER] = [_noting(line, files[RANK]) for line in lines[LAUNCHER]]
    files[LAUNCHER] = _signed(lines[LAUNCHER], base.genesis[LAUNCHER], base.key, each)
    if choices.below(4) == 3:
        del files[{RANK: LAUNCHER, LAUNCHER: RANK}[name]]
    before = dict(files)
    for _ in range(choices.below(4)):
        changed = choices.of(_FILE_CHANGES)(choices, bytearray(files[name]))
        files[name] = bytes(changed)
    if choices.below(8) == 7:
        files[choices.of(["rank-00000.attempt-001.jsonl", "rank-00001.attempt-000.jsonl", "x.jsonl"])] = files[name]
    return Mutant(files, signed=files == before)


def _noting(line: bytes, rank: bytes) -> bytes:
    """The line; where it is the launcher's note of the rank's head, of the head that it has now."""
    if line not in golden().lines[LAUNCHER] or b'"heads"' not in line:
        return line
    record = read_record(line)
    assert isinstance(record.body, NotedHeads)
    signature = read_checkpoint(rank.splitlines()[-1])
    if not signature:  # a changed record keeps a checkpoint from being one
        return line
    noting = replace(record.body, heads=((RANK, len(rank), signature),))
    return write_record(Record(time_us=record.time_us, body=noting))


def _signed(lines: list[bytes], genesis: Genesis, key: SigningKey, each: int) -> bytes:
    draft = Draft(Frontier(), Signer.of(genesis), key)
    for number, line in enumerate(lines, 1):
        add_placed(draft, line)
        if number % each == 0 or number in (1, len(lines)):
            draft.sign()
    return bytes(draft.data)


# Changes of records, before they are signed.


def _change_value(choices: Choices, lines: list[bytes]) -> None:
    at = choices.below(len(lines))
    try:
        plain = json.loads(lines[at])
    except (ValueError, RecursionError):
        return
    holder, place = _place(choices, plain)
    if holder is None:
        return
    match choices.below(4):
        case 0 if isinstance(holder, list):
            holder.append(holder[place])
        case 1:
            del holder[place]
        case 2 if isinstance(holder, dict):
            holder["zz"] = holder[place]
        case _:
            holder[place] = choices.of(_VALUES)
    lines[at] = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def _place(choices: Choices, plain: Any) -> tuple[Any, Any]:
    """A list or mapping in the value, and one of its places."""
    holder, place = None, None
    while isinstance(plain, list | dict) and plain:
        holder, place = plain, choices.of(range(len(plain)) if isinstance(plain, list) else sorted(plain))
        plain = holder[place]
        if choices.below(3) == 0:
            break
    return holder, place


def _change_text(choices: Choices, lines: list[bytes]) -> None:
    at = choices.below(len(lines))
    place = choices.below(len(lines[at]) + 1)
    lines[at] = lines[at][:place] + choices.of(_TEXTS) + lines[at][place + choices.below(3) :]


def _copy_line(choices: Choices, lines: list[bytes]) -> None:
    lines.insert(choices.below(len(lines) + 1), choices.of(lines))


def _delete_line(choices: Choices, lines: list[bytes]) -> None:
    if len(lines) > 1:
        del lines[choices.below(len(lines))]


def _swap_lines(choices: Choices, lines: list[bytes]) -> None:
    left, right = choices.below(len(lines)), choices.below(len(lines))
    lines[left], lines[right] = lines[right], lines[left]


def _take_foreign(choices: Choices, lines: list[bytes]) -> None:
    foreign = [line for of_segment in golden().lines.values() for line in of_segment]
    lines.insert(choices.below(len(lines) + 1), choices.of(foreign))


_RECORD_CHANGES: list[Callable[[Choices, list[bytes]], None]] = [
    _change_value, _change_value, _change_value, _change_text, _copy_line, _delete_line, _swap_lines, _take_foreign,
]  # fmt: skip


# Changes of a file.


def _flip(choices: Choices, data: bytearray) -> bytearray:
    if data:
        data[choices.below(len(data))] ^= 1 << choices.below(8)
    return data


def _cut(choices: Choices, data: bytearray) -> bytearray:
    return data[: choices.below(len(data) + 1)]


def _zero(choices: Choices, data: bytearray) -> bytearray:
    start = choices.below(len(data) + 1)
    number = min(choices.of([1, 40, 512, 5000]), len(data) - start)
    data[start : start + number] = bytes(number)
    return data


def _put_in(choices: Choices, data: bytearray) -> bytearray:
    place = choices.below(len(data) + 1)
    return data[:place] + choices.of(_TEXTS) + data[place:]


def _repeat(choices: Choices, data: bytearray) -> bytearray:
    start = choices.below(len(data) + 1)
    return data + data[start : start + choices.of([1, 100, 1000, 10**6])]


def _move_line(choices: Choices, data: bytearray) -> bytearray:
    lines = data.splitlines(keepends=True)
    if lines:
        lines.insert(choices.below(len(lines)), lines.pop(choices.below(len(lines))))
    return bytearray(b"".join(lines))


_FILE_CHANGES: list[Callable[[Choices, bytearray], bytearray]] = [_flip, _cut, _zero, _put_in, _repeat, _move_line]


# What must hold of each.


def judge(case: Mutant, place: Path, *, brief: bool = False) -> str:
    """The verdict, or the name of the project's own error; ``brief``: it is not recounted and not recovered as well.

    Raises: AssertionError: a verdict is false. Whatever else a verifier raises, which is a defect.
    ``place``: an empty directory.
    """
    for folder in ("segments", "cut"):
        (place / folder).mkdir()
    (place / "cut" / "x").write_bytes(_CUT)
    for name, data in case.files.items():
        (place / "segments" / name).write_bytes(data)
    verdicts = [_verdict(place, recounted=False)] if brief else [_verdict(place), _verdict(place, recounted=False)]
    if not case.signed:
        assert not {"UNANCHORED", "WITNESSED"} & set(verdicts), "an edit without the key did not show"
    if not brief:
        _recover(place, verdicts[0])
    return verdicts[0]


def _verdict(place: Path, *, recounted: bool = True) -> str:
    try:
        recount = Recount(price=Pricer().price, digest=TABLE.digest) if recounted else None
        reading = read_ledger(place, recount=recount)
    except AuditorError as error:
        told = str(error) and error.remedy and type(error).__name__
    else:
        assert reading.operations.total >= 0
        told = str(reading.verdict)
    assert told, "an error without a message or a remedy"
    return told


def _recover(place: Path, before: str) -> None:
    """A recovery takes no damage away, and makes none."""
    try:
        recover(place)
    except AuditorError:
        return
    after = _verdict(place)
    assert (after in FALSE) == (before in FALSE), (before, after)
