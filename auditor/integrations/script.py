"""`auditor run`: a command under audit, with the launcher's own record of how it was started and how it ended.

Where a launcher has started it as one of several ranks (``torchrun ... -m auditor run``, ``srun auditor run``), it
becomes the command instead: the rank's own segment is its record, and nobody writes what belongs to all.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor.config import Settings
from auditor.console import say
from auditor.device.probing import measure_visible
from auditor.distributed import Place, find_job, find_place
from auditor.errors import AuditorError, ConfigError, DeviceError, ExitCode, LedgerUnwritable
from auditor.formulas import TABLE, Pricer
from auditor.integrations.child import Ended, become, command_of, environment_for, run_child
from auditor.integrations.naming import new_run_id
from auditor.ledger import Outside, Reading, Recount, SegmentBook, first_genesis, read_ledger, segment_paths
from auditor.ledger.cosigning import Witness, read_witness
from auditor.records import Exit, Genesis
from auditor.session import alarm, genesis
from auditor.units import scientific
from auditor.witness import cosign_ledger

STATUS_FILE = "status.json"
_WITNESS_WITHIN_S = 15.0  # after the command has ended


@dataclass(slots=True)
class Supervised:
    """A run under way."""

    directory: Path
    run_id: str
    book: SegmentBook
    before: int  # segments there were when it began
    witness: tuple[str, Witness] | None = None  # address and key of the one that is asked at the end
    settings: Settings | None = None  # where levels are set

    def end(self, ended: Ended) -> int:
        """Record how the command ended, write the status file, say one line.

        Returns: 1 where the audit is not whole, 3 where it is and a level is passed.
        """
        processes = len(segment_paths(self.directory)) - self.before
        try:
            self.book.append(Exit(code=ended.code, signal=ended.signal, processes=processes))
            passed = self._look_at_levels()
            self.book.seal("finished")
            if processes == 0:
                say(_nothing_seen(ended))
                return 1
            self._ask_witness()
            witnesses = (self.witness[1],) if self.witness else ()
            reading = read_ledger(
                self.directory,
                recount=Recount(price=Pricer().price, digest=TABLE.digest),
                outside=Outside(witnesses=witnesses, quorum=len(witnesses)),
            )
            _write_status(self.directory, reading, ended, passed=passed)
        except (AuditorError, OSError) as error:
            say(f"the run could not be closed: {error}")
            return 1
        say(_last_line(reading, self.directory))
        if not _is_whole(reading):
            return int(ExitCode.FAILURE)
        return int(ExitCode.THRESHOLD if passed else ExitCode.PASS)

    def _look_at_levels(self) -> bool:
        """Whether a level is passed; of one that nobody was told of, somebody is told now."""
        if self.settings is None:
            return False
        return alarm.look_last(self.settings, self.directory, self.run_id, lambda task: task(self.book))

    def _ask_witness(self) -> None:
        """The ledger is co-signed, where a witness is set and answers in time; the run is whole without."""
        if self.witness is None:
            return
        url, witness = self.witness
        try:
            cosign_ledger(self.directory, url, witness, within_s=_WITNESS_WITHIN_S)
        except AuditorError as error:
            say(f"the ledger was not co-signed: {error.told}")


def run(words: Sequence[str], settings: Settings, directory: Path) -> int:
    """Run the command under audit and return the code to exit with.

    That is the child's own, whatever happens to the audit; with ``strict``, a child that ended well gets the audit's.
    Raises: ConfigError, KeyFileError: the witness in the settings is none; nothing was run.
    """
    command, witness = command_of(words), _witness_of(settings)
    if find_job() is not None:
        return _run_as_rank(command, settings, directory)
    try:
        supervised = begin(directory, settings, command)
    except (AuditorError, OSError) as error:
        failure = error if isinstance(error, AuditorError) else LedgerUnwritable(str(error))
        say(f"the ledger cannot be begun: {failure.told}")
        if settings.strict:
            return int(AuditorError.exit_code)
        say("the command runs unaudited")
        return run_child(command, os.environ).code
    supervised.witness = witness
    supervised.settings = settings if settings.alerts else None
    if settings.probe:
        measure_devices(supervised.book)
    environment = environment_for(
        settings, directory, supervised.run_id, command, os.environ, launcher=str(os.getpid())
    )
    ended = run_child(command, environment)
    trouble = supervised.end(ended)
    return ended.code or (trouble if settings.strict else 0)


def _run_as_rank(command: Sequence[str], settings: Settings, directory: Path) -> int:
    """Become the command, which joins the run that all ranks of the job share; returns only if there is none such."""
    place = find_place()
    if place.rank == 0:
        say(f"auditing {_shortened(command)} in {place.expected_ranks} ranks; the ledger is in {directory}")
        if settings.probe:
            say("the devices are not measured: ranks have been started already; `auditor probe` does it before them")
    run_id = new_run_id(directory)
    return become(command, environment_for(settings, directory, run_id, command, os.environ, launcher=""))


def begin(directory: Path, settings: Settings, command: Sequence[str]) -> Supervised:
    """Make the run's directory, write the launcher's first record, say one line.

    Raises: LedgerUnwritable: the directory takes no file. OSError: it cannot be made.
    """
    directory.mkdir(parents=True, exist_ok=True)
    earlier = first_genesis(directory)
    run_id = new_run_id(directory)
    place = Place(role="launcher", rank=0, expected_ranks=0)
    book = genesis.open_book(directory, settings, place, run_id=run_id, command=tuple(command), counter="", devices=())
    say(f"auditing {_shortened(command)}; the ledger is in {directory}")
    if earlier is not None:
        say(_continued(earlier, settings.model, command))
    return Supervised(directory, run_id, book, len(segment_paths(directory)))


def _witness_of(settings: Settings) -> tuple[str, Witness] | None:
    """Whom the settings name.

    Raises: ConfigError: an address without a key, or a key without an address. KeyFileError: the key is none.
    """
    if bool(settings.witness) != bool(settings.witness_key):
        raise ConfigError("the settings witness and witness_key go together: one of them is empty")
    return (settings.witness, read_witness(settings.witness_key)) if settings.witness else None


def _shortened(command: Sequence[str]) -> str:
    return f"{' '.join(command[:3])}{' …' if len(command) > 3 else ''}"


def _continued(earlier: Genesis, model: str, command: Sequence[str]) -> str:
    """Whose total this run will be added to, and whether it looks like another's."""
    text = f"this continues the run {earlier.run_id} that is there; both count towards one total"
    if earlier.model != model:
        return f"{text}, although that was the model {earlier.model!r} and this is {model!r}: --out names another place"
    if list(earlier.command) != list(command):
        return f"{text}, although that began with another command: {_shortened(earlier.command)}"
    return text


def _nothing_seen(ended: Ended) -> str:
    if ended.code:
        return f"the command ended with {ended.code} before torch was imported in any process: nothing was counted"
    return "no Python process with torch was seen: nothing was counted"


def measure_devices(book: SegmentBook) -> None:
    """Record what each GPU does, before the training has any; a failure is a gap, and the training begins."""
    say("measuring the GPUs before the training begins: half a minute at most, as a rule")
    try:
        for measurement in measure_visible():
            book.hardware("measured", measurement.uuid, measurement.to_mapping())
            if reason := measurement.not_measured.get("device"):
                _not_measured(book, reason)
    except DeviceError as error:
        _not_measured(book, str(error))


def _not_measured(book: SegmentBook, reason: str) -> None:
    message = f"the devices were not measured before the training, as was asked: {reason}"
    say(message)
    book.gap("hardware", message, lower_bound=False)


def _is_whole(reading: Reading) -> bool:
    return reading.verdict in ("UNANCHORED", "WITNESSED")


def _last_line(reading: Reading, directory: Path) -> str:
    total = scientific(reading.operations.total)
    floor = "" if _is_whole(reading) else "at least "
    steps = f"{reading.steps} step{'' if reading.steps == 1 else 's'}"
    return f"{floor}{total} operations in {steps}; ledger {reading.verdict}; see: auditor report {directory}"


def _write_status(directory: Path, reading: Reading, ended: Ended, *, passed: bool) -> None:
    """The verdict for scripts; a view that can be thrown away."""
    status = {
        "schema": "auditor.status/1",
        "run_id": reading.run_id,
        "exit": dataclasses.asdict(ended),
        "verdict": str(reading.verdict),
        "reasons": list(reading.reasons),
        "steps": reading.steps,
        "total_ops": str(reading.operations.total),
        "level_passed": passed,
    }
    temporary = directory / f".{STATUS_FILE}.{os.getpid()}"
    temporary.write_text(json.dumps(status, indent=2) + "\n", encoding="utf-8")
    temporary.replace(directory / STATUS_FILE)
