"""What was counted, bound to the weights that it made: an in-toto Statement in a signed DSSE envelope.

`weights` digests the files, `predicate` is what is said of them and `drawing` takes that from a ledger; `statement`
makes both into bytes, `envelope` signs and opens them (nothing is parsed before a signature was checked), on strict
`json_text`. `checking` holds an attestation against files and against the ledger.
"""

from auditor.attestation.checking import Check, Signer, check
from auditor.attestation.drawing import draw
from auditor.attestation.envelope import Opened, open_envelope, read_file, seal
from auditor.attestation.predicate import PREDICATE_TYPE, Predicate
from auditor.attestation.statement import Statement, read_statement, write_statement
from auditor.attestation.weights import Subject, digest_weights

__all__ = [
    "PREDICATE_TYPE",
    "Check",
    "Opened",
    "Predicate",
    "Signer",
    "Statement",
    "Subject",
    "check",
    "digest_weights",
    "draw",
    "open_envelope",
    "read_file",
    "read_statement",
    "seal",
    "write_statement",
]
