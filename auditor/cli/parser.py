"""The whole command line of `auditor`: its verbs and their arguments, without what they do."""

from __future__ import annotations

import argparse
from typing import NoReturn

import auditor
from auditor.errors import UsageError

_DESCRIPTION = """\
Counts every operation of a PyTorch training run, on whatever hardware, and holds the
total against the compute thresholds of the law, in a ledger that somebody else can verify.
"""
_EXIT_CODES = """\
exit codes:
  run                   the command's own code (128+n for signal n); with --strict, 1 where the audit failed
  probe                 1 where there was nothing to measure
  verify, report        0 pass   1 the auditor's own failure   2 usage   3 a threshold is reached (report)
                        4 the ledger is INVALID or DIVERGED   5 less than --require asks for
  status, hardware, build
                        0 done   1 the auditor's own failure   2 usage
"""
_PURPOSES = "pre-training | fine-tuning | reinforcement-learning | synthetic-data | evaluation | exploration"
_VERDICTS = ("INCOMPLETE", "UNANCHORED", "WITNESSED")


class _Parser(argparse.ArgumentParser):
    """Ends with the documented code and the project's form of a message."""

    def error(self, message: str) -> NoReturn:
        verb = self.prog.partition(" ")[2]
        raise UsageError(f"{verb}: {message}" if verb else message, remedy=f"See: {self.prog} --help")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(
        prog="auditor",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"auditor {auditor.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_run(verbs)
    _add_verify(verbs)
    _add_report(verbs)
    _add_status(verbs)
    _add_hardware(verbs)
    _add_probe(verbs)
    _add_build(verbs)
    return parser


def _add_run(verbs: argparse._SubParsersAction[_Parser]) -> None:
    run = verbs.add_parser(
        "run",
        allow_abbrev=False,
        help="run a training under audit",
        usage="auditor run [options] (-- COMMAND ... | SCRIPT.py ... | -m MODULE ...)",
        description="Starts the command, attaches to every Python process below it that imports torch, and ends with"
        " the command's own code.",
        epilog="Every setting of configs/defaults.yaml can also be given by ./auditor.yaml or the environment"
        " (AUDITOR_INTERVAL_S=10); an argument goes before both.",
    )
    run.add_argument("--out", metavar="DIR", help="directory of the ledger (default: audits/<time>-<random>)")
    run.add_argument("--model", metavar="NAME", help="what is being trained (default: the script's name)")
    run.add_argument("--purpose", metavar="P", help=_PURPOSES)
    run.add_argument("--strict", action="store_true", help="a failure of the auditor stops the training")
    run.add_argument("--key", metavar="FILE", help="private key that signs the ledger; made where there is none")
    run.add_argument("--no-second-opinion", action="store_true", help="do not hold a forward pass against fvcore")
    run.add_argument(
        "--counter",
        metavar="C",
        help="auto | native | dispatch (portable): counter of operators (default: auto)",
    )
    run.add_argument("--probe", action="store_true", help="measure each GPU once before the training begins")
    run.add_argument(
        "--coverage-every",
        metavar="N",
        help="profile one step after each N, to name kernels that no counted operator accounts for (default: 0, none)",
    )
    run.add_argument("-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE ...", help="run a module")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="what to run")


def _add_ledger_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the run's directory")
    parser.add_argument("--key", metavar="FILE", help="public key, or its 64 hex digits, that must have signed it")
    parser.add_argument("--require", choices=_VERDICTS, help="end with 5 when the verdict is worse than this")


def _add_verify(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verify = verbs.add_parser(
        "verify",
        allow_abbrev=False,
        help="check a ledger: hashes, signatures, and every total recounted from the tallies",
        description="Checks every record of a run and recounts every total; without torch, GPU or network.",
    )
    _add_ledger_arguments(verify)


def _add_report(verbs: argparse._SubParsersAction[_Parser]) -> None:
    report = verbs.add_parser(
        "report",
        allow_abbrev=False,
        help="what was counted, on what, how near which line",
        description="Draws a run from its ledger: what was counted, on what hardware, how near each threshold of the"
        " law, and what the record is worth.",
    )
    _add_ledger_arguments(report)
    report.add_argument("--format", choices=("terminal", "json", "html"), default="terminal")
    report.add_argument("--out", metavar="FILE", help="write here instead of standard output")
    report.add_argument("--as-of", metavar="DATE", help="the law as it stood on this day (default: today)")


def _add_status(verbs: argparse._SubParsersAction[_Parser]) -> None:
    status = verbs.add_parser(
        "status",
        allow_abbrev=False,
        help="where a job stands, live or dead: ranks seen, their last records, who lags",
        description="Reads the ledger of a job that runs, or of one that is dead, without recounting it: which ranks"
        " were seen, how long ago each wrote, and what each has done beside the others.",
    )
    status.add_argument("directory", metavar="DIR", help="the run's directory")


def _add_hardware(verbs: argparse._SubParsersAction[_Parser]) -> None:
    hardware = verbs.add_parser(
        "hardware",
        allow_abbrev=False,
        help="the catalogue of chips, and what class a machine's devices are",
        description="Looks chips up, and holds them against the chip rules (ECCN 3A090 and what follows from it) as"
        " they stood on a day, with the working.",
    )
    actions = hardware.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", allow_abbrev=False, help="every part of the catalogue and its class")
    listed.add_argument("--vendor", metavar="V", help="only this vendor's parts")
    show = actions.add_parser("show", allow_abbrev=False, help="one part: each field with its source, and every rule")
    show.add_argument("id", metavar="ID", help="its id in the catalogue, such as h200-sxm")
    classify = actions.add_parser(
        "classify",
        allow_abbrev=False,
        help="the devices of this machine, of a file, or of a PCI id",
        description="Asks this machine's driver which devices there are, or reads it from a file, and classes them.",
    )
    what = classify.add_mutually_exclusive_group()
    what.add_argument("--nvidia-smi", metavar="FILE", help="what `nvidia-smi -q -x` wrote; - reads standard input")
    what.add_argument("--device", metavar="IDS", help="PCI ids: 10de:2335, or with the subsystem 10de:2335/10de:18be")
    for action in (listed, show, classify):
        action.add_argument("--as-of", metavar="DATE", help="the law as it stood on this day (default: today)")
        action.add_argument("--json", action="store_true", help="write JSON (configs/schema/hardware.schema.json)")


def _add_probe(verbs: argparse._SubParsersAction[_Parser]) -> None:
    probe = verbs.add_parser(
        "probe",
        allow_abbrev=False,
        help="measure the GPUs: peak rates, bandwidth, cache, multiprocessors",
        description="Measures every visible GPU in processes of its own, within half a minute, and prints what it did"
        " beside what it declares and what its part is rated at. Ends with 1 where there was nothing to measure.",
    )
    probe.add_argument("--device", metavar="N", help="this one alone, as torch numbers devices (default: all)")
    probe.add_argument("--json", action="store_true", help="print JSON")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise ValueError("not a positive number of seconds")
    return seconds


def _add_build(verbs: argparse._SubParsersAction[_Parser]) -> None:
    build = verbs.add_parser(
        "build",
        allow_abbrev=False,
        help="build the native counter for the installed torch, before the first run would",
        description="Builds the native counter for the installed versions of torch and Python into the user's cache."
        " The first audited run does the same; without a compiler it counts with the portable counter instead.",
    )
    build.add_argument("--limit", type=_seconds, metavar="S", help="give up after this many seconds (default: 240)")
