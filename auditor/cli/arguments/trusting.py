"""What makes a record count with others: heads, witnesses, proofs, keys, attestations."""

from __future__ import annotations

import argparse

from auditor.cli.arguments.shared import Parser, add_witness_key, duration_s, whole_number


def add_anchor(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor anchor` is a verb."""
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
    add_witness_key(anchor)
    anchor.add_argument(
        "--within", type=duration_s, default=30.0, metavar="S", help="wait no longer for each witness (default: 30)"
    )


def add_prove(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor prove` is a verb."""
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
    what.add_argument("--line", type=whole_number, metavar="N", help="that line N, counted from 1, stands in it")
    what.add_argument("--seal", action="store_true", help="that its seal, with its totals, stands in it")
    what.add_argument("--since", metavar="FILE", help="that it extends its head in this file (`auditor anchor`)")
    prove.add_argument("--out", metavar="FILE", help="write here instead of standard output")


def add_witness(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor witness` is a verb."""
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


def add_key(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor key` is a verb."""
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


def add_attest(verbs: argparse._SubParsersAction[Parser]) -> None:
    """`auditor attest` is a verb."""
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
