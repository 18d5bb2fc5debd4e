"""What is written down: the records of a ledger's segment, and their schema.

A segment is one file of text lines, written by one process for itself; `lines` has the bytes of a record. What vouches
for lines is `Checkpoint`, which is a line too; how the two go together is `ledger`'s.

Amounts of operations are decimal strings. Unknown fields are refused: a newer schema has a newer name.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

SCHEMA_NUMBER = 3
LEDGER_SCHEMA = f"auditor.ledger/{SCHEMA_NUMBER}"
MOST_TALLIES = 8  # that an interval refers to
MOST_RECENT = 8  # tallies whose amounts `Totals` repeats
CLOCK_AHEAD = "clock_ahead_s"  # of a host: by how many seconds, of the clock of the disk that it writes to
MOST_FORMS = 256  # `Hardware` records of a segment that `HardwareAgain` may refer to: its first ones
MOST_NOTED = 2**16  # heads of others that a segment notes
# Records of a segment that only inform: recoveries, rotations, second opinions, updates, exits, alerts.
MOST_TOLD = 2**16
# What a segment spends, as lines, on signatures and tallies. Where shapes never come to rest, intervals from there on
# hold amounts only; it bounds the file and the reader's memory.
TALLIES_LIMIT_BYTES = 16 * 2**20
MOST_PARTS = 256  # of what a step of an optimizer updated
# Why of an optimizer of torch's own it is not known what a step updates:
UPDATED_OFTEN, UPDATED_IN_PART = "several times", "in part"
WEIGHTS_LIMIT_BYTES = 16 * 2**20  # likewise on `Weights` and `Resumed`; later ones are told as one gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """The first record: who writes, as part of what, counting with what."""

    kind: ClassVar[str] = "genesis"
    schema: str
    run_id: str
    nonce: str  # random, so that two segments never begin alike
    role: str  # "rank": a training process; "process": another Python process; "launcher": `auditor run` itself
    rank: int
    attempt: int  # restarts of the same run count up from 0
    expected_ranks: int
    model: str
    purpose: str
    command: tuple[str, ...]
    public_key: str  # Ed25519, 64 hex digits
    counter: str  # "dispatch", "native", or "" where nothing is counted
    versions: Mapping[str, str]  # auditor, python, torch, platform, packs of rules of the user's own
    digests: Mapping[str, str]  # formulas, rules, catalogue, configuration, packs of rules of the user's own
    host: Mapping[str, str]  # hostname, boot_id, pid; `CLOCK_AHEAD` where clocks differ
    devices: tuple[Mapping[str, str], ...]  # what each device said of itself; see hardware.identity
    settings: Mapping[str, str]  # the settings in force that change what is recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatures:
    """Operators seen for the first time; tallies refer to them by number, the first of them is ``first``."""

    kind: ClassVar[str] = "signatures"
    first: int
    items: tuple[tuple[str, str], ...]  # (operator, canonical arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class TallyRecord:
    """A tally, written once, and what it comes to by the writer's formulas; intervals refer to it by number."""

    kind: ClassVar[str] = "tally"
    number: int  # tallies are numbered from 0 in the order in which they are written
    entries: tuple[tuple[int, str, str, int], ...]  # (signature number, phase, purpose, calls)
    operations: tuple[tuple[str, ...], ...]  # rows of Operations
    unpriced: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """What was counted since the interval before: steps, and tallies with how often each came."""

    kind: ClassVar[str] = "interval"
    first_step: int  # the steps that ended in this interval are first_step .. first_step + steps - 1, counted from 1
    steps: int
    elapsed_us: int  # since the process was attached, on the monotonic clock, at the end of the interval
    tallies: tuple[tuple[int, int], ...]  # (number, times), at most MOST_TALLIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """An interval after `TALLIES_LIMIT_BYTES`: what it comes to, exactly, without the tallies to count it again."""

    kind: ClassVar[str] = "folded"
    first_step: int
    steps: int
    elapsed_us: int
    operations: tuple[tuple[str, ...], ...]
    unpriced: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PurposeChange:
    """From here on the process works for another purpose."""

    kind: ClassVar[str] = "purpose"
    purpose: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Something the auditor could not see or do: what it was, and what it means for the total."""

    kind: ClassVar[str] = "gap"
    # One of: formula, counter, thread, compiled, ledger, hardware, second_opinion, coverage, attach, weights, signal,
    # alert, updates.
    cause: str
    message: str
    lower_bound: bool  # whether operations may be missing from the total because of it


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """Another counter's view of one forward pass, beside ours of the same pass; matrix families only."""

    kind: ClassVar[str] = "second_opinion"
    counter: str
    model: str  # class of the outermost module
    inputs: str  # canonical text of its input shapes
    ours: str  # operations of the matrix families, decimal
    theirs: str
    unavailable: str  # why there is no opinion, or ""
    explained: tuple[Mapping[str, str], ...]  # operator, module, ours, theirs, note
    modules: tuple[tuple[str, str, str], ...]  # (module path, class, operations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Updates:
    """What a step of an optimizer updated on this rank, where it is one of several; no amount of the total rests on it.

    How often a parameter is updated shows when ranks are held side by side: those that name the same piece hold it all.
    """

    kind: ClassVar[str] = "updates"
    number: int  # optimizers of a segment are numbered from 0
    optimizer: str  # its class
    step: int  # steps of this segment that had ended
    operations: str  # of the optimizer's phase in this step, decimal; "" where they have no price
    # (by what ranks are kept alike, of how many ranks, a digest of these, how many of them hold this rank's piece, its
    # elements, a digest of what makes it the same on each). By "" it is not known; then of 0 elements: not even which,
    # and one of the reasons above, where it is one, stands in place of the ranks.
    parts: tuple[tuple[str, int, str, int, int, str], ...]  # at most MOST_PARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A checkpoint was saved or loaded; the digest of its bytes says which one it was."""

    kind: ClassVar[str] = "weights"
    event: str  # "saved" or "loaded"
    name: str  # the last part of its path, for information
    form: str  # "safetensors", "torch", "distributed", "other"; "" where it could not be read
    step: int  # steps of this segment that had ended
    digest: str  # SHA-256 of the file, or over the set of files; "" where it could not be had
    tensors: str  # SHA-256 over names, types, shapes and contents, however they are laid out in files; or ""
    size_bytes: int
    files: tuple[tuple[str, int, str], ...]  # SHA-256, bytes and name of each; the name of a file alone is ""
    missed: str  # why there is no digest, or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The training went on from a state of the auditor that it had kept: what was done after that is abandoned."""

    kind: ClassVar[str] = "resumed"
    run_id: str
    segment: str  # the file name of the segment that gave the state
    step: int  # steps of that segment that had ended
    operations: str  # that it had recorded by then, decimal
    note: str  # its head then, as a signed note


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What was seen of a device at a moment, as text; no amount of the total rests on it."""

    kind: ClassVar[str] = "hardware"
    event: str  # "observed", "lost", "found", "changed", "measured", "coverage", ...
    device: str  # its UUID; "" where it is of the machine and not of one device
    values: Mapping[str, str]  # units are in the names


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareAgain:
    """A `Hardware` record of the event, the device and the names of an earlier one, with values of its own."""

    kind: ClassVar[str] = "again"
    earlier: int  # the `Hardware` records of a segment are counted from 0, up to `MOST_FORMS`
    values: tuple[str, ...]  # in the order of their names


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A key is followed by another: said, and signed, by the one that is followed.

    Where that is the key of the segment, its checkpoint is the last that it signs, and the other signs what follows.
    Any other one tells how the segment's key came to be.
    """

    kind: ClassVar[str] = "rotation"
    number: int  # rotations of a first key are numbered from 1
    previous: str  # Ed25519, 64 hex digits
    following: str
    made_us: int  # since 1970, UTC, for information
    signature: str  # by the previous key over `ledger.rotation.statement`, in base64


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedHeads:
    """Where other segments of the directory stood, so that one that is cut short or taken away is missed."""

    kind: ClassVar[str] = "heads"
    heads: tuple[tuple[str, int, str], ...]  # (segment's file name, bytes up to a checkpoint's end, its signature)
    others: int  # segments that stood there beside these


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How the command ended, seen from the launcher."""

    kind: ClassVar[str] = "exit"
    code: int  # the code that `auditor run` returns: 128+n for a signal
    signal: int  # 0 where there was none
    processes: int  # segments that were begun under this launcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A level was passed, by what was written then, and somebody was told: it is told once, also across restarts."""

    kind: ClassVar[str] = "alert"
    name: str  # of the rule's counter, or "executed", and the amount: the same in every process of the run
    level: str  # as it was set
    rule: str  # or "" for all that was executed
    at: str  # operations, decimal
    counted: str  # by then, over all processes that could be read, decimal
    told: str  # "webhook", "command", both, or "" where nobody was to be told but on stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """A tail without acknowledgement was cut from an earlier segment and kept aside."""

    kind: ClassVar[str] = "recovered"
    segment: str
    kept_as: str
    cut_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """So many bytes of the segment were on the disk when this was written: no loss of power can take them back."""

    kind: ClassVar[str] = "synced"
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cumulative:
    """What the segment came to so far, and its tree: whoever has the lines from here on needs none before them.

    The signature of the next checkpoint follows from these nodes and the lines in between, so it vouches for both.
    """

    lines: int  # that stand before this one
    nodes: tuple[str, ...]  # the tree over them: the roots of its complete subtrees, the largest first, in base64
    steps: int
    elapsed_us: int
    operations: tuple[tuple[str, ...], ...]
    unpriced: Mapping[str, int]
    gaps: int
    floors: int  # of these gaps, those because of which operations may be missing
    resumed: int  # how often the training went on from a kept state
    loaded: int  # how often weights were loaded, or may have been: gaps that concern weights are among them


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals(Cumulative):
    """The totals now and then, so that the end of a segment that was never sealed tells what it came to."""

    kind: ClassVar[str] = "totals"
    # (number, operations, unpriced) of the tallies that intervals since the last totals referred to most
    tallies: tuple[tuple[int, tuple[tuple[str, ...], ...], Mapping[str, int]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal(Cumulative):
    """The last record: the segment's totals, so that a reader need not add them up."""

    kind: ClassVar[str] = "seal"
    reason: str  # "finished", "stopped", "forked", ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signature over the root of the Merkle tree of all lines before it."""

    kind: ClassVar[str] = "checkpoint"
    signature: str  # Ed25519 over the note's text, 64 bytes in base64


Body = (
    Genesis
    | Signatures
    | TallyRecord
    | Interval
    | Folded
    | PurposeChange
    | Gap
    | SecondOpinion
    | Updates
    | Weights
    | Resumed
    | Hardware
    | HardwareAgain
    | Rotation
    | NotedHeads
    | Exit
    | Alert
    | Recovered
    | Synced
    | Totals
    | Seal
    | Checkpoint
)
POSITIONAL = (Interval, HardwareAgain, Checkpoint)  # written as a list of their fields, in this order


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record: when it was written, for information, and what it says. Its place is the number of its line."""

    time_us: int  # since 1970, UTC
    body: Body


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def time_text(time_us: int) -> str:
    """The time of day in UTC: ``"2026-11-22T21:40:00.123456Z"``."""
    return (_EPOCH + datetime.timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
