"""`auditor anchor`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from auditor.cli.reading import witnesses_of
from auditor.errors import AuditorError, NotALedger, UsageError
from auditor.ledger import run_id_of
from auditor.ledger.cosigning import Witness
from auditor.ledger.heads import heads_file, keep_heads, present_heads, write_synced
from auditor.ledger.outside import time_of_day
from auditor.witness import cosign_ledger


def run(options: argparse.Namespace) -> int:
    """Write the heads of a ledger, print the text that stands for them, and ask the witnesses."""
    directory = Path(options.directory)
    witnesses = _witnesses(options)
    heads = present_heads(directory)
    if not heads:
        raise NotALedger(f"{directory}: there is no head: no segment has a record yet")
    file = heads_file(heads, run_id_of(directory) or "")
    kept = keep_heads(directory, file)
    written = write_synced(Path(options.out), file.data) if options.out else kept
    _print(f"heads of {len(heads)} segments, checked and written: {written}", file.short)
    if not options.no_qr:
        _print(*_qr(file.short))
    _print(
        "Whoever keeps the file or the text outside of this machine can hold the ledger against it at any time:",
        f"  auditor verify {directory} --head {written if options.out else 'TEXT'}",
    )
    return _ask(directory, witnesses, options.within)


def _witnesses(options: argparse.Namespace) -> list[tuple[str, Witness]]:
    """Addresses and keys, in the order in which they were given."""
    if len(options.witness) != len(options.witness_key):
        raise UsageError(
            f"anchor: {len(options.witness)} witnesses and {len(options.witness_key)} keys were given",
            remedy="Give --witness-key once for each --witness, in the same order.",
        )
    return list(zip(options.witness, witnesses_of(options.witness_key), strict=True))


def _ask(directory: Path, witnesses: Sequence[tuple[str, Witness]], within_s: float) -> int:
    """All are asked; the worst that one of them came to is the code."""
    code = 0
    for url, witness in witnesses:
        try:
            asked = cosign_ledger(directory, url, witness, within_s=within_s)
        except AuditorError as error:
            print(f"auditor: {error.told}", file=sys.stderr)  # noqa: T201
            code = max(code, int(error.exit_code))
        else:
            latest = time_of_day(max(answer.time_s for answer in asked))
            _print(f"co-signed by {witness.name}: {len(asked)} heads, the last at {latest}")
    return code


def _qr(text: str) -> list[str]:
    """The text as a QR code for the terminal, or what it takes to draw one."""
    try:
        import segno  # noqa: PLC0415 - an extra
    except ImportError:
        return ["(For a QR code of this text: pip install 'auditor[qr]')"]
    rows = [[*row] for row in segno.make(text, error="m", micro=False).matrix_iter(border=2)]
    rows += [[0] * len(rows[0])] * (len(rows) % 2)
    # Two rows of modules are one of text; light is drawn, so that it reads on a dark terminal and as black on white.
    blocks = {(0, 0): "\u2588", (0, 1): "\u2580", (1, 0): "\u2584", (1, 1): " "}
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return ["".join(blocks[bool(a), bool(b)] for a, b in zip(*pair, strict=True)) for pair in pairs]


def _print(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
