"""The whole command line of `auditor`: its verbs and their arguments, without what they do."""

from __future__ import annotations

import argparse

import auditor
from auditor.cli.arguments import judging, looking_up, running, trusting
from auditor.cli.arguments.shared import Parser

_DESCRIPTION = """\
Counts every operation of a PyTorch training run, on whatever hardware, and holds the
total against the compute thresholds of the law, in a ledger that somebody else can verify.
"""
_EXIT_CODES = """\
exit codes:
  run                   the command's own code (128+n for signal n); with --strict, 1 where the audit failed, 3 where
                        a level is passed
  probe                 1 where there was nothing to measure
  verify, report, check 0 pass   1 the auditor's own failure   2 usage   3 a threshold is reached, or a level passed
                        (not verify)
                        4 the ledger is INVALID or DIVERGED   5 less than --require asks for
  merge                 0 added up   2 usage   4 a segment is false, or not of the run
  fleet                 0 pass   2 usage   3 a line that binds is exceeded, or a shipment has no way that is open
  lineage               as verify, for the worst of the ledgers; 2 also for a lineage that goes in a circle
  status, compress, hardware, build, key
                        0 done   1 the auditor's own failure   2 usage
  anchor, prove         0 done   1 the auditor's own failure   2 usage   4 the ledger is false, or a witness refuses it
  attest, index, export 0 done   1 the auditor's own failure   2 usage   4 a ledger is INVALID or DIVERGED
  witness               0 it was ended   1 it could not serve   2 usage
"""


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = Parser(
        prog="auditor",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"auditor {auditor.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    running.add_run(verbs)
    judging.add_verify(verbs)
    judging.add_merge(verbs)
    judging.add_report(verbs)
    judging.add_lineage(verbs)
    judging.add_check(verbs)
    judging.add_fleet(verbs)
    running.add_status(verbs)
    running.add_compress(verbs)
    looking_up.add_hardware(verbs)
    running.add_probe(verbs)
    running.add_build(verbs)
    trusting.add_anchor(verbs)
    trusting.add_prove(verbs)
    trusting.add_witness(verbs)
    trusting.add_key(verbs)
    trusting.add_attest(verbs)
    judging.add_index(verbs)
    judging.add_export(verbs)
    return parser
