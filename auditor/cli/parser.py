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
  verify, report, check 0 pass   1 the auditor's own failure   2 usage   3 a threshold is reached (not verify)
                        4 the ledger is INVALID or DIVERGED   5 less than --require asks for
  lineage               as verify, for the worst of the ledgers; 2 also for a lineage that goes in a circle
  status, hardware, build, key
                        0 done   1 the auditor's own failure   2 usage
  anchor, prove         0 done   1 the auditor's own failure   2 usage   4 the ledger is false, or a witness refuses it
  attest, index         0 done   1 the auditor's own failure   2 usage   4 a ledger is INVALID or DIVERGED
  witness               0 it was ended   1 it could not serve   2 usage
"""
_PURPOSES = "pre-training | fine-tuning | reinforcement-learning | synthetic-data | evaluation | exploration"
_MODES = ("as_codified", "as_enforced")
_VERDICTS = ("INCOMPLETE", "UNANCHORED", "WITNESSED")
_GROUPINGS = ("run", "model", "chip", "host", "month", "verdict")


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
    _add_lineage(verbs)
    _add_check(verbs)
    _add_status(verbs)
    _add_hardware(verbs)
    _add_probe(verbs)
    _add_build(verbs)
    _add_anchor(verbs)
    _add_prove(verbs)
    _add_witness(verbs)
    _add_key(verbs)
    _add_attest(verbs)
    _add_index(verbs)
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
    _add_rules_argument(run)
    run.add_argument("-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE ...", help="run a module")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="what to run")


def _add_ledger_arguments(parser: argparse.ArgumentParser, number: str | None = None) -> None:
    parser.add_argument("directory", metavar="DIR", nargs=number, help="the run's directory")
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
    _add_witness_key(parser)
    parser.add_argument(
        "--quorum", type=_number, metavar="N", help="so many of these witnesses must have co-signed (default: all)"
    )
    parser.add_argument(
        "--revocation", metavar="FILE", action="append", default=[], help="a key's revocation (`auditor key revoke`)"
    )


def _add_witness_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--witness-key",
        metavar="KEY",
        action="append",
        default=[],
        help="a witness that you trust: the line that `auditor witness` printed, or a file with it",
    )


def _number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("not a positive number")
    return number


def _add_verify(verbs: argparse._SubParsersAction[_Parser]) -> None:
    verify = verbs.add_parser(
        "verify",
        allow_abbrev=False,
        help="check a ledger: hashes, signatures, and every total recounted from the tallies",
        description="Checks every record of a run and recounts every total; without torch, GPU or network. With"
        " --attestation, checks what was attested of weights: the signature, the files, and with DIR the ledger.",
    )
    _add_ledger_arguments(verify, "?")
    verify.add_argument("--proof", metavar="FILE", help="check this proof (`auditor prove`) in place of a ledger")
    verify.add_argument("--attestation", metavar="FILE", help="what `auditor attest` wrote; --key is then its signer's")
    verify.add_argument("--weights", metavar="PATH", help="the weight file, or the directory of them, that it is of")


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
    _add_law_arguments(report)
    report.add_argument("--declared", metavar="FILE", help="what is said of the model's ancestors (docs/lineage.md)")


def _add_law_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--as-of", metavar="DATE", help="the law as it stood on this day (default: today)")
    parser.add_argument(
        "--mode",
        choices=_MODES,
        default=_MODES[0],
        help="which rules bind: all that are printed as in effect, or those not known to be unenforced (default:"
        " as_codified)",
    )
    _add_rules_argument(parser)
    parser.add_argument("--answers", metavar="FILE", help="answers to what rules ask and no record shows (YAML)")


def _add_rules_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rules", metavar="FILE", action="append", default=[], help="a pack of rules of your own; may be repeated"
    )


def _add_check(verbs: argparse._SubParsersAction[_Parser]) -> None:
    check = verbs.add_parser(
        "check",
        allow_abbrev=False,
        help="what each rule of the law says of a record, and why",
        description="Holds a ledger against every rule: thresholds for models, exceptions, allocations, guidance. Ends"
        " with 3 where a line that binds on that day is reached.",
    )
    _add_ledger_arguments(check)
    check.add_argument("--explain", metavar="RULE", help="the tests of one rule, each operand, what would change it")
    check.add_argument("--json", action="store_true", help="write JSON (configs/schema/check.schema.json)")
    _add_law_arguments(check)


def _add_lineage(verbs: argparse._SubParsersAction[_Parser]) -> None:
    lineage = verbs.add_parser(
        "lineage",
        allow_abbrev=False,
        help="from which models a model was made, and what all of them took",
        description="Models over the ledgers of their runs: who was made from whose weights, by the digests of"
        " checkpoints and by what is declared, and what each took over its ancestry.",
    )
    actions = lineage.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", allow_abbrev=False, help="the models of these ledgers, their parents and totals")
    show.add_argument("directories", metavar="DIR", nargs="+", help="directories of runs, in any order")
    show.add_argument("--declared", metavar="FILE", help="what is said of models (docs/lineage.md)")
    show.add_argument("--model", metavar="NAME", help="this one alone (default: all)")
    show.add_argument("--relation", metavar="R", action="append", help="follow only these; may be given several times")
    show.add_argument("--json", action="store_true", help="write JSON (configs/schema/lineage.schema.json)")


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


def _add_anchor(verbs: argparse._SubParsersAction[_Parser]) -> None:
    anchor = verbs.add_parser(
        "anchor",
        allow_abbrev=False,
        help="write the heads of a ledger for somebody else to keep, or have witnesses co-sign them",
        description="Checks a ledger's hashes and signatures, writes its signed heads into one file, and prints a text"
        " that stands for that file. What somebody else keeps of it shows any later rewrite: auditor verify --head.",
    )
    anchor.add_argument("directory", metavar="DIR", help="the run's directory")
    anchor.add_argument("--out", metavar="FILE", help="write the heads here too, for whoever is to keep them")
    anchor.add_argument("--no-qr", action="store_true", help="do not draw the text as a QR code")
    anchor.add_argument(
        "--witness", metavar="URL", action="append", default=[], help="have this witness co-sign the heads"
    )
    _add_witness_key(anchor)
    anchor.add_argument(
        "--within", type=_seconds, default=30.0, metavar="S", help="wait no longer for each witness (default: 30)"
    )


def _add_prove(verbs: argparse._SubParsersAction[_Parser]) -> None:
    prove = verbs.add_parser(
        "prove",
        allow_abbrev=False,
        help="prove one record, or that a ledger extends a head, in a file that is checked without the ledger",
        description="Writes a proof that a record stands in a segment (C2SP tlog-proof), or that the segment's present"
        " head extends one that somebody kept. auditor verify --proof FILE checks it.",
    )
    prove.add_argument("directory", metavar="DIR", help="the run's directory")
    prove.add_argument("segment", metavar="SEGMENT", help="name of the segment's file, with or without .jsonl")
    what = prove.add_mutually_exclusive_group(required=True)
    what.add_argument("--line", type=_number, metavar="N", help="that line N, counted from 1, stands in it")
    what.add_argument("--seal", action="store_true", help="that its seal, with its totals, stands in it")
    what.add_argument("--since", metavar="FILE", help="that it extends its head in this file (`auditor anchor`)")
    prove.add_argument("--out", metavar="FILE", help="write here instead of standard output")


def _add_witness(verbs: argparse._SubParsersAction[_Parser]) -> None:
    witness = verbs.add_parser(
        "witness",
        allow_abbrev=False,
        help="be a witness: co-sign heads of ledgers that only ever grow",
        description="Serves the C2SP protocol tlog-witness over HTTP until it is ended. It remembers the latest head of"
        " each segment and co-signs only what extends it. Whoever is to believe it needs the key that it prints.",
    )
    witness.add_argument("directory", metavar="DIR", help="where its key and its memory are; made where there is none")
    witness.add_argument("--name", required=True, metavar="NAME", help="what it is called, such as witness.example/w1")
    witness.add_argument(
        "--accept",
        metavar="[ORIGIN=]KEY",
        action="append",
        required=True,
        help="a public key whose ledgers it co-signs, for origins that begin like this (default: auditor.ledger/)",
    )
    witness.add_argument(
        "--listen", metavar="HOST:PORT", default="127.0.0.1:8741", help="where it is asked (default: 127.0.0.1:8741)"
    )


def _add_key(verbs: argparse._SubParsersAction[_Parser]) -> None:
    key = verbs.add_parser(
        "key",
        allow_abbrev=False,
        help="the key that signs ledgers: show it, replace it, revoke it",
        description="The signing key, and how it came to be.",
    )
    actions = key.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", allow_abbrev=False, help="the public key, and those that it follows")
    rotate = actions.add_parser(
        "rotate",
        allow_abbrev=False,
        help="make a new key, which the old one names as its follower; the old one is destroyed",
    )
    revoke = actions.add_parser(
        "revoke", allow_abbrev=False, help="sign the statement that a key is not to be relied on any more"
    )
    for action in (show, rotate, revoke):
        action.add_argument("--key", metavar="FILE", help="the key's file (default: the setting `key`)")
    revoke.add_argument("revoked", metavar="KEY", nargs="?", help="its 64 hex digits (default: the key of the file)")
    revoke.add_argument("--reason", required=True, metavar="TEXT", help="why, in one line")
    revoke.add_argument("--since", metavar="TIME", help="from when on, such as 2026-11-22T08:00:00Z (default: now)")
    revoke.add_argument("--out", metavar="FILE", help="write here instead of standard output")


def _add_attest(verbs: argparse._SubParsersAction[_Parser]) -> None:
    attest = verbs.add_parser(
        "attest",
        allow_abbrev=False,
        help="sign what a run came to, bound to the weights that it made",
        description="Verifies the run's ledger, digests the weight files, and writes an in-toto Statement about them in"
        " a signed DSSE envelope. `auditor verify --attestation` checks it.",
    )
    attest.add_argument("directory", metavar="DIR", help="the run's directory")
    attest.add_argument("--weights", metavar="PATH", required=True, help="a file, or a directory: every file of it")
    attest.add_argument("--key", metavar="FILE", help="private key that signs (default: the one that signs ledgers)")
    attest.add_argument("--out", metavar="FILE", help="write here instead of standard output")
    attest.add_argument("--as-of", metavar="DATE", help="the law as it stood on this day (default: today)")


def _add_index(verbs: argparse._SubParsersAction[_Parser]) -> None:
    index = verbs.add_parser(
        "index",
        allow_abbrev=False,
        help="many ledgers in one index: which models are over a line, what ran on a chip",
        description="Keeps what many ledgers come to in one database, exactly, and answers for all of them. The ledgers"
        " stay the truth: an index can be thrown away and made again.",
    )
    actions = index.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser(
        "add",
        allow_abbrev=False,
        help="verify ledgers and take them in, or what has changed of them",
        description="Verifies and recounts each ledger and stores what it comes to. A ledger that contradicts what the"
        " index has seen of it is DIVERGED. Ends with 4 where one is INVALID or DIVERGED, with 2 where one is none.",
    )
    add.add_argument("directories", metavar="DIR", nargs="+", help="a run's directory, or one with many below it")
    rebuild = actions.add_parser("rebuild", allow_abbrev=False, help="forget everything, and add what was known again")
    listed = actions.add_parser(
        "list", allow_abbrev=False, help="runs, or sums over those of a model, a chip, a host or a month"
    )
    listed.add_argument("--by", choices=_GROUPINGS, default="run", help="what a row is (default: run)")
    listed.add_argument("--model", metavar="NAME", help="only runs of this model")
    listed.add_argument("--chip", metavar="ID", help="only runs that saw this part, by its id or the device's own name")
    listed.add_argument("--host", metavar="NAME", help="only runs that had a process on this host")
    listed.add_argument("--month", metavar="YYYY-MM", help="only runs that began in this month (UTC)")
    listed.add_argument("--verdict", choices=("INVALID", "DIVERGED", *_VERDICTS), help="only runs with this verdict")
    listed.add_argument("--over", metavar="PERCENT", help="only what is over so many percent of any rule's line")
    listed.add_argument("--most", metavar="N", help="at most so many rows, the largest first (default: 100)")
    show = actions.add_parser("show", allow_abbrev=False, help="everything that is kept of a run")
    show.add_argument("run", metavar="RUN", help="its id, the beginning of it, or the directory of its ledger")
    for action in (listed, show):
        action.add_argument("--as-of", metavar="DATE", help="the law as it stood on this day (default: today)")
    for action in (add, rebuild, listed, show):
        action.add_argument("--to", metavar="URL", help="a file, or postgresql://... (default: the user's own index)")
        action.add_argument("--json", action="store_true", help="print JSON (configs/schema/index.schema.json)")
