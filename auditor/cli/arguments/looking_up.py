"""The catalogue of chips."""

from __future__ import annotations

import argparse

from auditor.cli.arguments.shared import Parser


def add_hardware(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor hardware` is a verb."""
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
