"""A ledger is read: checked, reported on, held against the law and its ancestors."""

from __future__ import annotations

import argparse

from auditor.cli.arguments.shared import (
    Parser,
    add_day_arguments,
    add_effort_arguments,
    add_ends_arguments,
    add_family_arguments,
    add_jobs_argument,
    add_law_arguments,
    add_ledger_arguments,
    add_rules_argument,
)

_VERDICTS = ("INCOMPLETE", "UNANCHORED", "WITNESSED")
_EXPORT_GROUPINGS = ("model", "site", "chip", "month", "host", "run_id", "verdict")
_GROUPINGS = ("run", "model", "chip", "host", "month", "verdict")


def add_verify(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor verify` is a verb."""
    verify = verbs.add_parser(
        "verify",
        allow_abbrev=False,
        help="check a ledger: hashes, signatures, and every total recounted from the tallies",
        description="Checks every record of a run and recounts every total; without torch, GPU or network. With"
        " --attestation, checks what was attested of weights: the signature, the files, and with DIR the ledger.",
    )
    add_ledger_arguments(verify, "?")
    verify.add_argument("--proof", metavar="FILE", help="check this proof (`auditor prove`) in place of a ledger")
    verify.add_argument("--attestation", metavar="FILE", help="what `auditor attest` wrote; --key is then its signer's")
    add_effort_arguments(verify)
    verify.add_argument("--weights", metavar="PATH", help="the weight file, or the directory of them, that it is of")


def add_merge(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor merge` is a verb."""
    merge = verbs.add_parser(
        "merge",
        allow_abbrev=False,
        help="what thousands of ranks come to, from their signed seals, in seconds",
        description="Adds up segments from their ends alone: seals, or the last totals of what was never sealed, each"
        " under its signature. Nothing is recounted; `auditor verify` does that. Directories may hold parts of one run,"
        " or several runs.",
    )
    merge.add_argument("directories", metavar="DIR", nargs="+", help="a run's directory")
    merge.add_argument("--format", choices=("terminal", "json"), default="terminal")
    add_jobs_argument(merge)


def add_report(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor report` is a verb."""
    report = verbs.add_parser(
        "report",
        allow_abbrev=False,
        help="what was counted, on what, how near which line",
        description="Draws a run from its ledger: what was counted, on what hardware, how near each threshold of the"
        " law, and what the record is worth. With further ledgers each law's total is over the model's ancestry.",
    )
    add_family_arguments(report)
    add_ends_arguments(report)
    report.add_argument("--format", choices=("terminal", "json", "html"), default="terminal")
    report.add_argument("--out", metavar="FILE", help="write here instead of standard output")
    add_law_arguments(report)


def add_check(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor check` is a verb."""
    check = verbs.add_parser(
        "check",
        allow_abbrev=False,
        help="what each rule of the law says of a record, and why",
        description="Holds a ledger against every rule: thresholds for models, exceptions, allocations, guidance. Ends"
        " with 3 where a line that binds on that day is reached.",
    )
    add_family_arguments(check)
    add_ends_arguments(check)
    check.add_argument("--explain", metavar="RULE", help="the tests of one rule, each operand, what would change it")
    check.add_argument("--json", action="store_true", help="write JSON (configs/schema/check.schema.json)")
    check.add_argument("--html", metavar="FILE", help="write the page here as HTML too")
    add_law_arguments(check)


def add_fleet(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor fleet` is a verb."""
    fleet = verbs.add_parser(
        "fleet",
        allow_abbrev=False,
        help="what the chip rules say of an inventory: tiers, licences, allocations",
        description="Holds an inventory of chips (YAML or CSV, docs/fleet.md) against the chip rules: the tier of each"
        " destination, which ways are open to each shipment, and what is left of each allocation. Ends with 3 where a"
        " line that binds is exceeded, or a shipment has no way that is open.",
    )
    fleet.add_argument("file", metavar="FILE", nargs="?", help="the inventory")
    fleet.add_argument("--example", choices=("yaml", "csv"), help="write an inventory to begin with, and end")
    fleet.add_argument("--format", choices=("terminal", "json", "html"), default="terminal")
    fleet.add_argument("--out", metavar="FILE", help="write here instead of standard output")
    add_day_arguments(fleet)
    add_rules_argument(fleet)


def add_lineage(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor lineage` is a verb."""
    lineage = verbs.add_parser(
        "lineage",
        allow_abbrev=False,
        help="from which models a model was made, and what all of them took",
        description="Models over the ledgers of their runs: who was made from whose weights, by the digests of"
        " checkpoints and by what is declared, and what each took over its ancestry.",
    )
    actions = lineage.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", allow_abbrev=False, help="the models of these ledgers, their parents and totals")
    show.add_argument("directories", metavar="DIR", nargs="+", help="a run's directory, or one with many below it")
    show.add_argument("--declared", metavar="FILE", help="what is said of models (docs/lineage.md)")
    show.add_argument("--model", metavar="NAME", help="this one alone (default: all)")
    show.add_argument("--relation", metavar="R", action="append", help="follow only these; may be given several times")
    show.add_argument("--json", action="store_true", help="write JSON (configs/schema/lineage.schema.json)")


def add_index(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor index` is a verb."""
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


def add_export(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor export` is a verb."""
    export = verbs.add_parser(
        "export",
        allow_abbrev=False,
        help="many ledgers as Parquet, for engines that add up fleets; and their totals",
        description="Verifies and recounts each ledger and writes its segments as rows of Parquet, one file for a run,"
        " for DuckDB, Spark, Ray or whatever else reads that (docs/export.md). What has not changed is left alone. Ends"
        " with 4 where a ledger is INVALID or contradicts what was exported of it, with 2 where one is none.",
    )
    export.add_argument("directories", metavar="DIR", nargs="*", help="a run's directory, or one with many below it")
    export.add_argument("--parquet", metavar="OUT", required=True, help="the directory of the Parquet files")
    export.add_argument("--site", metavar="NAME", default="", help="the site that these ledgers are of")
    export.add_argument("--by", choices=_EXPORT_GROUPINGS, help="print what all that is exported comes to, by this")
    export.add_argument("--json", action="store_true", help="print JSON (configs/schema/export.schema.json)")
