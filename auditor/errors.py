"""Every error of the auditor, in one tree.

::

    AuditorError                     exit 1   the auditor's own failure
    ├── UsageError                   exit 2   the call or its input is off
    │   ├── UnitError                         an amount that cannot be read exactly
    │   ├── DocumentError                     a YAML or JSON document that does not fit its schema
    │   │   ├── ConfigError                   a setting, or a file of settings
    │   │   ├── RuleError                     a rule pack
    │   │   ├── CatalogueError                a chip catalogue
    │   │   ├── InventoryError                an inventory of chips, or one that contradicts itself
    │   │   └── LineageError                  a lineage file, or one that contradicts itself
    │   │       └── LineageCycle              a model is its own ancestor
    │   ├── StateError                        what a checkpoint brings back is no state of the auditor's
    │   ├── NotALedger                        no such directory, or nothing of ours in it
    │   ├── NotAnAttestation                  no such file, or not an attestation of ours
    │   ├── WeightsError                      weight files that cannot be told apart or read
    │   ├── IndexUnusable                     an index that cannot be opened, or holds something else
    │   └── MissingExtra                      an optional dependency is not installed
    ├── ResourceError                exit 1   the installation is not whole
    ├── FormulaError                 exit 1   a formula is registered twice, or answers nonsense
    ├── CountingError                exit 1   a counter cannot attach or went wrong
    │   └── NativeUnavailable                 the native counter is not built and cannot be
    ├── HardwareError                exit 1   a device could not be asked
    ├── DeviceError                  exit 1   a kernel could not be compiled, loaded or run
    ├── AlertError                   exit 1   whoever was to be told of a level could not be
    └── LedgerError                  exit 1   the record could not be written or read
        ├── LedgerUnwritable         exit 1   no space, no permission, a failed sync
        ├── LedgerInvalid            exit 4   a hash, signature or amount is false
        │   └── AttestationInvalid            a signature of an attestation is false, or nobody's that is trusted
        ├── LedgerDiverged           exit 4   the ledger contradicts a head that is held elsewhere
        ├── KeyFileError             exit 2   a signing key that cannot be used
        ├── NoteError                exit 2   a head, proof or statement that cannot be read, or is not signed
        ├── WitnessError             exit 1   a witness is down, slow, refuses, or answers falsely
        ├── WitnessStateError        exit 1   a witness lost its memory, or has another key than its memory
        └── SchemaFromFuture         exit 2   written by a newer auditor

Each error says what is wrong (its message) and what to do (`remedy`); only `cli` turns it into text and an exit code.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What `verify`, `report` and `check` return; `run` returns the child's own code."""

    PASS = 0
    FAILURE = 1
    USAGE = 2
    THRESHOLD = 3
    INVALID = 4
    INCOMPLETE = 5


class AuditorError(Exception):
    """The auditor itself failed."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILURE
    default_remedy: ClassVar[str] = (
        "This is a defect of the auditor: please report it with the command and this message."
    )

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.remedy = remedy or self.default_remedy

    @property
    def told(self) -> str:
        """What is wrong and what to do, as sentences."""
        message = str(self)
        return f"{message}{'' if message.endswith(('.', '?', '!')) else '.'} {self.remedy}"


class UsageError(AuditorError):
    """The call, or something it was given, is off."""

    exit_code = ExitCode.USAGE
    default_remedy = "Run the command with --help for what it takes."


class UnitError(UsageError):
    """An amount cannot be read as an exact whole number of its unit."""

    default_remedy = "Write a whole number, such as 250000 or 1e26."


class DocumentError(UsageError):
    """A YAML or JSON document does not fit its schema."""

    default_remedy = "Correct the file at the place that the message names."


class ConfigError(DocumentError):
    """A setting has an unknown name, the wrong type or a value out of range."""

    default_remedy = "Correct the setting where the message says it came from."


class RuleError(DocumentError):
    """A rule pack cannot be used, or a rule of that id does not exist."""


class CatalogueError(DocumentError):
    """A chip catalogue cannot be used."""


class InventoryError(DocumentError):
    """An inventory of chips cannot be used, or contradicts itself."""


class LineageError(DocumentError):
    """A lineage file cannot be used, or contradicts itself or the ledgers."""


class LineageCycle(LineageError):
    """A model is its own ancestor; the message names the circle."""

    default_remedy = (
        "Runs that hand weights to and fro train one model: name them under one in the lineage file, or each "
        "generation of it by a name of its own."
    )


class StateError(UsageError):
    """What a checkpoint brings back is not a state of the auditor's, or was changed."""

    default_remedy = "Give `load_state_dict` what `state_dict` of an auditor gave, as it was."


class NotALedger(UsageError):
    """There is no ledger where one was asked for."""

    default_remedy = "Name the directory that `auditor run` printed (it holds a folder `segments`)."


class NotAnAttestation(UsageError):
    """There is no attestation where one was asked for, or it is written in a form that could be read in two ways."""

    default_remedy = "Name the file that `auditor attest` wrote, as it was written."


class WeightsError(UsageError):
    """The weight files cannot be read, or not in one way only."""

    default_remedy = "Name a file, or a directory that holds the weight files themselves and nothing else."


class IndexUnusable(UsageError):
    """An index cannot be opened or written, or is none."""

    default_remedy = "Name another with --to, or make it again from the ledgers with `auditor index add`."


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed", remedy=f"Install it with: pip install 'auditor[{extra}]'")
        self._made_of = (package, extra)

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return MissingExtra, self._made_of


class ResourceError(AuditorError):
    """The installation lacks files that belong to it."""

    default_remedy = "Install the auditor again."


class FormulaError(AuditorError):
    """A formula was registered twice, or answered with something that is not an amount."""

    default_remedy = "Correct the formula; the tally is kept, so the run can be recounted."


class CountingError(AuditorError):
    """A counter could not attach, or failed while counting."""


class NativeUnavailable(CountingError):
    """The native counter is not built, and cannot be built or loaded here."""

    default_remedy = (
        "The portable counter gives the same tally, more slowly. With a C++ compiler (g++) and ninja installed,"
        " `auditor build` builds the native one."
    )


class HardwareError(AuditorError):
    """A device could not be asked for its identity."""

    default_remedy = "Check the driver with `nvidia-smi`; the run is counted, its hardware stays undetermined."


class DeviceError(AuditorError):
    """A kernel could not be compiled, loaded or run on a device."""

    default_remedy = "Training and counting go on without it; the message says what is missing."


class AlertError(AuditorError):
    """Whoever was to be told of a level that was passed could not be."""

    default_remedy = "Training and counting go on; whoever it was is told at the next start, if the run has one."


class LedgerError(AuditorError):
    """The record could not be written or read."""

    default_remedy = "Keep the directory as it is and run `auditor verify` on a copy."


class LedgerUnwritable(LedgerError):
    """The disk took no more: no space, no permission, or a failed sync."""

    default_remedy = "Make room or name another directory with --out; what was acknowledged before is kept."


class LedgerInvalid(LedgerError):
    """A hash, a signature or a recounted amount is false."""

    exit_code = ExitCode.INVALID
    default_remedy = "Keep the directory as evidence; compare it with a copy or a head held elsewhere."


class LedgerDiverged(LedgerError):
    """The ledger contradicts a head that is held elsewhere."""

    exit_code = ExitCode.INVALID
    default_remedy = "Keep the directory and the head as evidence: one of them is not what was written at the time."


class NoteError(LedgerError):
    """A signed head, proof or statement cannot be read, or its signature is false."""

    exit_code = ExitCode.USAGE
    default_remedy = "Ask whoever gave you the file for it again: it was damaged, cut short or is of another kind."


class WitnessError(LedgerError):
    """A witness could not be asked, refused, or answered with something that does not hold."""

    default_remedy = "The ledger is whole without it; run `auditor anchor` again later, or ask another witness."


class WitnessStateError(LedgerError):
    """A witness cannot vouch for what it saw before: its memory is gone, or is not that of its key."""

    default_remedy = (
        "A witness that forgot could co-sign a second history. Retire its key: begin a new witness in an empty"
        " directory and tell those who trust it the new key."
    )


class AttestationInvalid(LedgerInvalid):
    """A signature of an attestation is false, or none is by a key that is trusted."""

    default_remedy = "Have the attestation sent again, and the signer's public key by another way."


class KeyFileError(LedgerError):
    """A signing key cannot be read, has wrong permissions or is of another kind."""

    exit_code = ExitCode.USAGE
    default_remedy = "The key must be an Ed25519 private key in PEM that only its owner can read (mode 0600)."


class SchemaFromFuture(LedgerError):
    """The document was written by a newer auditor than this one."""

    exit_code = ExitCode.USAGE
    default_remedy = "Install the version of the auditor that wrote it, or a newer one."
