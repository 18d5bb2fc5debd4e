"""What is run: trainings, what prepares them, and where one stands."""

from __future__ import annotations

import argparse

from auditor.cli.arguments.shared import (
    Parser,
    add_alert_argument,
    add_jobs_argument,
    add_rules_argument,
    duration_s,
)

_PURPOSES = "pre-training | fine-tuning | reinforcement-learning | synthetic-data | evaluation | exploration"


def add_run(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor run` is a verb."""
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
    run.add_argument("--live-sum", action="store_true", help="ranks keep their sum in the job's own store, for status")
    add_rules_argument(run)
    add_alert_argument(run)
    run.add_argument("-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE ...", help="run a module")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND ...", help="what to run")


def add_compress(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor compress` is a verb."""
    compress = verbs.add_parser(
        "compress",
        allow_abbrev=False,
        help="compress segments that are sealed; they stay what they were, and verifiable",
        description="Replaces each sealed segment by a compressed one (Zstandard) of the same bytes, once that was read"
        " back. Every verb reads both. Needs the extra zstd, as whoever reads the ledger then does.",
    )
    compress.add_argument("directories", metavar="DIR", nargs="+", help="a run's directory")
    add_jobs_argument(compress)


def add_status(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor status` is a verb."""
    status = verbs.add_parser(
        "status",
        allow_abbrev=False,
        help="where a job stands, live or dead: ranks seen, their last records, who lags",
        description="Reads the ledger of a job that runs, or of one that is dead, without recounting it: which ranks"
        " were seen, how long ago each wrote, and what each has done beside the others.",
    )
    status.add_argument("directory", metavar="DIR", help="the run's directory")


def add_probe(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor probe` is a verb."""
    probe = verbs.add_parser(
        "probe",
        allow_abbrev=False,
        help="measure the GPUs: peak rates, bandwidth, cache, multiprocessors",
        description="Measures every visible GPU in processes of its own, within half a minute, and prints what it did"
        " beside what it declares and what its part is rated at. Ends with 1 where there was nothing to measure.",
    )
    probe.add_argument("--device", metavar="N", help="this one alone, as torch numbers devices (default: all)")
    probe.add_argument("--json", action="store_true", help="print JSON")


def add_build(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor build` is a verb."""
    build = verbs.add_parser(
        "build",
        allow_abbrev=False,
        help="build the native counter for the installed torch, before the first run would",
        description="Builds the native counter for the installed versions of torch and Python into the user's cache."
        " The first audited run does the same; without a compiler it counts with the portable counter instead.",
    )
    build.add_argument("--limit", type=duration_s, metavar="S", help="give up after this many seconds (default: 240)")
