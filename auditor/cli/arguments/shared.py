"""What arguments of verbs have in common, and the parser that they are added to."""

from __future__ import annotations

import argparse
from typing import NoReturn

from auditor.errors import UsageError

_MODES = ("as_codified", "as_enforced")
_VERDICTS = ("INCOMPLETE", "UNANCHORED", "WITNESSED")


class Parser(argparse.ArgumentParser):
    """Ends with the documented code and the project's form of a message."""

    def error(self, message: str) -> NoReturn:
        """The command line is refused.

        Raises: UsageError: always.
        """
        verb = self.prog.partition(" ")[2]
        raise UsageError(f"{verb}: {message}" if verb else message, remedy=f"See: {self.prog} --help")


def add_ledger_arguments(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """The verb reads a ledger, held against what its user brings along."""
    parser.add_argument("directory", metavar="DIR", nargs=nargs, help="the run's directory")
    _add_evidence_arguments(parser)


def add_family_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb reads a run's ledger, held against what its user brings along, and those that its model came from."""
    parser.add_argument(
        "directories",
        metavar="DIR",
        nargs="+",
        help="the run's directory; then those of runs that its model was made from, or one with many below it",
    )
    _add_evidence_arguments(parser)
    parser.add_argument("--declared", metavar="FILE", help="what is said of the model's ancestors (docs/lineage.md)")
    parser.add_argument("--model", metavar="NAME", help="of the runs given, take the latest of this model")


def _add_evidence_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key", metavar="FILE", help="public key, or its 64 hex digits, that must have signed it, or the keys before"
    )
    parser.add_argument("--require", choices=_VERDICTS, help="end with 5 when the verdict is worse than this")
    parser.add_argument(
        "--head",
        metavar="FILE",
        action="append",
        default=[],
        help="heads that you kept (what `auditor anchor` wrote, or its short text), to hold the ledger against",
    )
    add_witness_key(parser)
    parser.add_argument(
        "--quorum", type=whole_number, metavar="N", help="so many of these witnesses must have co-signed (default: all)"
    )
    parser.add_argument(
        "--revocation", metavar="FILE", action="append", default=[], help="a key's revocation (`auditor key revoke`)"
    )


def add_witness_key(parser: argparse.ArgumentParser) -> None:
    """The verb takes keys of witnesses."""
    parser.add_argument(
        "--witness-key",
        metavar="KEY",
        action="append",
        default=[],
        help="a witness that you trust: the line that `auditor witness` printed, or a file with it",
    )


def add_day_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb holds something against the rules of a day, in a mode."""
    parser.add_argument("--as-of", metavar="DATE", help="the law as it stood on this day (default: today)")
    parser.add_argument(
        "--mode",
        choices=_MODES,
        default=_MODES[0],
        help="which rules bind: all that are printed as in effect, or those of them that their authority asks to be met"
        " (default: as_codified)",
    )


def add_law_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb holds amounts against rules."""
    add_day_arguments(parser)
    add_rules_argument(parser)
    parser.add_argument("--answers", metavar="FILE", help="answers to what rules ask and no record shows (YAML)")
    parser.add_argument(
        "--plan",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="where the training is to end: end=2027-03-01, steps=1e6, operations=3e25, or tokens=1.5e13 with"
        " tokens_per_step=4e6; also known_since=DATE and source=TEXT",
    )
    add_alert_argument(parser)


def add_alert_argument(parser: argparse.ArgumentParser) -> None:
    """The verb takes levels."""
    parser.add_argument(
        "--alert",
        metavar="LEVEL",
        action="append",
        default=[],
        help="a level to be told of: 80%% of each line that binds, RULE=80%% of one, 2e25 of all operations; may be"
        " repeated (default: the setting alerts)",
    )


def add_jobs_argument(parser: argparse.ArgumentParser) -> None:
    """The verb reads segments in several processes."""
    parser.add_argument(
        "--jobs", type=whole_number, metavar="N", help="processes that read (default: as many as there are cores)"
    )


def add_effort_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb reads all of a ledger, in several processes, and may go on where an earlier call stood."""
    parser.add_argument(
        "--resume",
        metavar="FILE",
        help="go on where an interrupted call stood that was given this file, and note there what was read",
    )
    add_jobs_argument(parser)


def add_ends_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb may leave it at the ends of segments, instead of reading all of them."""
    add_effort_arguments(parser)
    parser.add_argument(
        "--from-ends",
        action="store_true",
        help="from the signed ends of segments alone, as `auditor merge` adds them up: quick, and not recounted",
    )


def add_rules_argument(parser: argparse.ArgumentParser) -> None:
    """The verb takes packs of one's own."""
    parser.add_argument(
        "--rules", metavar="FILE", action="append", default=[], help="a pack of rules of your own; may be repeated"
    )


def whole_number(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise ValueError("not a positive number")
    return number


def duration_s(text: str) -> float:
    """A time in seconds, above 0."""
    seconds = float(text)
    if not seconds > 0:
        raise ValueError("not a positive number of seconds")
    return seconds
