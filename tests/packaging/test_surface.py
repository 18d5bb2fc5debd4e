"""What others build on, frozen: a change here is a change for them and belongs into the changelog."""

from __future__ import annotations

import auditor
from auditor import errors

PUBLIC = [
    "Amount", "Auditor", "AuditorError", "Counted", "Family", "Operations", "Phase", "Purpose", "Shape",
    "__version__", "count", "formula", "load_state_dict", "loaded", "saved", "state_dict",
]  # fmt: skip

# name: (parent, exit code)
ERRORS = {
    "AuditorError": ("Exception", 1),
    "UsageError": ("AuditorError", 2),
    "UnitError": ("UsageError", 2),
    "DocumentError": ("UsageError", 2),
    "ConfigError": ("DocumentError", 2),
    "RuleError": ("DocumentError", 2),
    "CatalogueError": ("DocumentError", 2),
    "InventoryError": ("DocumentError", 2),
    "LineageError": ("DocumentError", 2),
    "LineageCycle": ("LineageError", 2),
    "StateError": ("UsageError", 2),
    "NotALedger": ("UsageError", 2),
    "NotAnAttestation": ("UsageError", 2),
    "WeightsError": ("UsageError", 2),
    "IndexUnusable": ("UsageError", 2),
    "MissingExtra": ("UsageError", 2),
    "ResourceError": ("AuditorError", 1),
    "FormulaError": ("AuditorError", 1),
    "CountingError": ("AuditorError", 1),
    "NativeUnavailable": ("CountingError", 1),
    "HardwareError": ("AuditorError", 1),
    "DeviceError": ("AuditorError", 1),
    "AlertError": ("AuditorError", 1),
    "LedgerError": ("AuditorError", 1),
    "LedgerUnwritable": ("LedgerError", 1),
    "LedgerInvalid": ("LedgerError", 4),
    "AttestationInvalid": ("LedgerInvalid", 4),
    "LedgerDiverged": ("LedgerError", 4),
    "KeyFileError": ("LedgerError", 2),
    "NoteError": ("LedgerError", 2),
    "WitnessError": ("LedgerError", 1),
    "WitnessStateError": ("LedgerError", 1),
    "SchemaFromFuture": ("LedgerError", 2),
}
EXIT_CODES = {"PASS": 0, "FAILURE": 1, "USAGE": 2, "THRESHOLD": 3, "INVALID": 4, "INCOMPLETE": 5}


def test_the_public_names_are_these_and_each_is_there():
    assert sorted(auditor.__all__) == PUBLIC
    assert set(PUBLIC) <= set(dir(auditor))
    for name in PUBLIC:
        assert getattr(auditor, name) is not None


def test_a_name_that_is_not_public_is_an_attribute_error():
    assert not hasattr(auditor, "Audit")


def test_the_tree_of_errors():
    found = {
        name: (kind.__base__.__name__, int(kind.exit_code))
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.AuditorError)
    }
    assert found == ERRORS


def test_the_tree_is_drawn_as_it_is():
    drawn = [line for line in (errors.__doc__ or "").splitlines() if "exit " in line or "──" in line]
    assert [name for line in drawn for name in ERRORS if name in line.split()] == list(ERRORS)


def test_the_exit_codes():
    assert {code.name: int(code) for code in errors.ExitCode} == EXIT_CODES
