"""What was recorded: a directory of signed segments that outlive the processes that wrote them.

::

    DIR/segments/rank-00000.attempt-000.jsonl                    one file per training process and attempt
                 rank-00000.attempt-000.pid-1234-9f3a61c0.jsonl  another Python process under that rank
                 launcher.attempt-000.jsonl                      the command that started them
    DIR/anchors/, witnessed/                                     heads that were given away, or co-signed by witnesses
    DIR/cut/                                                     tails cut at a recovery, kept as they were

`merkle` is the tree over a segment's lines, `keys` holds the signing key, `notes` what is signed, and `log` makes lines
into a log and reads them again (bytes in, facts out), with `hole` for what a loss of power leaves. `disk` has the calls
that change what is on the disk, `segment` is the one writer of a file, `book` what a counting
process writes into it (`known` is what it need not write again), `recovery` the start after a crash. `inspection`
reads one segment and `contents` checks what it says, with `prices` for its tallies, `curve` for its intervals and
`notices` for the rest; `reading` gives the verdict on a directory, in `findings`' words; `held` compares a ledger with
heads of it that somebody noted.

Where there are very many segments, `ends` tells what each came to from its end alone, `merging` adds that up and
`summed` makes a reading of it; `detail` bounds what is kept of each for drawing; `effort` reads them in several
processes (`workers`) and goes on from an `earlier` reading; `compressing` makes sealed ones smaller, which `packed`
reads as what they were.

What shows that a ledger was written anew is kept by others: `noting` is about heads in other segments, `heads` about
those that are given away, `signed` and `cosigning` read them, `outside` holds a ledger against them. `proofs` are short
proofs over a tree, `proving` makes files of them. `rotation` says how keys follow each other, `keyfile` keeps that with
the key, `revocation` ends one, and `trust` says whose signatures count.
"""

from auditor.ledger.book import SegmentBook
from auditor.ledger.curve import Point
from auditor.ledger.findings import Verdict
from auditor.ledger.held import Comparison, HeldHead, compare, heads_of
from auditor.ledger.keys import SigningKey, load_or_create, read_public_key
from auditor.ledger.notes import Head
from auditor.ledger.outside import NOTHING, Held, Outside
from auditor.ledger.places import next_attempt, segment_paths
from auditor.ledger.prices import Recount
from auditor.ledger.reading import Reading, SegmentReading, read_ledger
from auditor.ledger.recovery import first_genesis, recover, run_id_of
from auditor.ledger.segment import SegmentWriter

__all__ = [
    "NOTHING",
    "Comparison",
    "Head",
    "Held",
    "HeldHead",
    "Outside",
    "Point",
    "Reading",
    "Recount",
    "SegmentBook",
    "SegmentReading",
    "SegmentWriter",
    "SigningKey",
    "Verdict",
    "compare",
    "first_genesis",
    "heads_of",
    "load_or_create",
    "next_attempt",
    "read_ledger",
    "read_public_key",
    "recover",
    "run_id_of",
    "segment_paths",
]
