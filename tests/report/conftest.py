"""Small ledgers written by the ledger's own writer, and views of them."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from auditor.formulas.pricing import Pricer
from auditor.formulas.registry import TABLE
from auditor.hardware import catalogue
from auditor.ledger import Reading, Recount, read_ledger
from auditor.ledger.book import SegmentBook
from auditor.ledger.keys import load_or_create
from auditor.ledger.segment import SegmentWriter
from auditor.records import LEDGER_SCHEMA, Exit, Genesis, Hardware, SecondOpinion, Updates, Weights
from auditor.report import view as views
from auditor.report.json_text import to_json
from auditor.rules import pack
from auditor.session.state import State
from auditor.tally import Entry, Phase, Purpose, Shape, Signature, Tally, encode_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from auditor.report.view import View

HERE = Path(__file__).resolve().parent
AS_OF = date(2026, 11, 22)
GENERATED = "2026-11-22T21:45:00Z"

CPU = {"kind": "cpu", "name": "Example CPU", "no_gpu": "driver library not found"}
# The ids of an H200 SXM board, as its driver gives them.
H200 = {
    "kind": "gpu",
    "name": "NVIDIA H200",
    "uuid": "GPU-00000000-0000-0000-0000-000000000000",
    "pci_device_id": "10de:2335",
    "pci_subsystem_id": "10de:18be",
    "memory_bytes": str(143771 * 2**20),
    "num_cores": "16896",
    "compute_capability": "9.0",
}


def calls_of(
    counts: Mapping[tuple[str, Phase], int], *, op: str = "aten::mm", purpose: Purpose = Purpose.PRE_TRAINING
) -> Tally:
    """Matrix products of the sizes that the text names (``2x3x4``), so often, in these phases."""
    entries = {}
    for (sizes, phase), calls in counts.items():
        m, k, n = map(int, sizes.split("x"))
        arguments = encode_arguments([Shape((m, k)), Shape((k, n))])
        entries[Entry(Signature(op, arguments), phase, purpose)] = calls
    return Tally(entries)


STEP = calls_of({("64x32x16", Phase.FORWARD): 2, ("64x32x16", Phase.BACKWARD): 4, ("64x32x16", Phase.RECOMPUTE): 1})
EVALUATION = calls_of({("64x32x16", Phase.INFERENCE): 3}, purpose=Purpose.EVALUATION)


@dataclasses.dataclass(kw_only=True)
class Writing:
    """What to write into a ledger."""

    model: str = "small test model"
    command: Sequence[str] = ("python", "train.py", "--steps", "6")
    ranks: int = 1
    written_ranks: int = 1
    interval_us: int = 1000
    intervals: Sequence[tuple[int, Tally, int]] = (
        (2, STEP, 2),
        (2, STEP, 2),
        (2, STEP, 2),
        (0, EVALUATION, 1),
    )
    devices: Sequence[Mapping[str, str]] = (CPU,)
    opinions: Sequence[SecondOpinion] = ()
    gaps: Sequence[tuple[str, str, bool]] = ()
    observed: Sequence[Hardware] = ()
    weights: Sequence[Weights] = ()
    updates: Sequence[Sequence[Updates]] = ()  # of the ranks in turn
    rolled_back: bool = False  # at its end, to where it stood before its last interval
    sealed: bool = True
    hosts: Sequence[Mapping[str, str]] = ({"hostname": "test"},)  # of the ranks in turn


def write(directory: Path, what: Writing) -> Path:
    """A ledger in ``directory``: one segment for each rank, one for the launcher."""
    key = load_or_create(directory.parent / "key.pem")
    for rank in range(what.written_ranks):
        book = SegmentBook(SegmentWriter.create(directory, _genesis(what, "rank", rank), key))
        for updates in what.updates[rank : rank + 1]:
            for one in updates:
                book.updates(one)
        _write_rank(book, what)
    launcher = SegmentBook(SegmentWriter.create(directory, _genesis(what, "launcher", 0), key))
    launcher.append(Exit(code=0, signal=0, processes=what.written_ranks))
    launcher.seal("finished")
    return directory


def _write_rank(book: SegmentBook, what: Writing) -> None:
    step, pricer = 1, Pricer()
    for number, (steps, tally, times) in enumerate(what.intervals, start=1):
        state = State.of(book)
        book.record_interval(
            first_step=step,
            steps=steps,
            elapsed_us=number * what.interval_us,
            parts=[(tally, times)],
            price=pricer.price,
        )
        step += steps
    if what.rolled_back:
        book.resumed(state.resumed())
    for seen in what.weights:
        book.weights(seen)
    for opinion in what.opinions:
        book.append(opinion)
    for cause, message, lower_bound in what.gaps:
        book.gap(cause, message, lower_bound=lower_bound)
    for seen in what.observed:
        book.append(seen)
    if what.sealed:
        book.seal("finished")
    else:
        book.close()


def _genesis(what: Writing, role: str, rank: int) -> Genesis:
    return Genesis(
        schema=LEDGER_SCHEMA,
        run_id="run-1",
        nonce=f"{role}{rank}",
        role=role,
        rank=rank,
        attempt=0,
        expected_ranks=what.ranks,
        model=what.model,
        purpose=str(Purpose.PRE_TRAINING),
        command=tuple(what.command),
        public_key="",
        counter="dispatch" if role == "rank" else "",
        versions={"auditor": "0"},
        digests={"formulas": TABLE.digest},
        host=what.hosts[rank % len(what.hosts)],
        devices=tuple(what.devices) if role == "rank" else (),
        settings={},
    )


def read(directory: Path) -> Reading:
    """The reading with every total recounted."""
    return read_ledger(directory, recount=Recount(price=Pricer().price, digest=TABLE.digest))


@pytest.fixture(scope="session")
def ruleset() -> Any:
    """A made-up law, so that expectations do not change when a real one does."""
    return pack.load([HERE / "law.yaml"])


@pytest.fixture(scope="session")
def chips() -> Any:
    """The catalogue that is shipped."""
    return catalogue.load()


@pytest.fixture
def make_view(tmp_path: Path, ruleset: Any, chips: Any) -> Callable[..., View]:
    """Writes a ledger of `Writing`'s fields, reads it, builds its view, under the made-up law or another."""

    def make(*, law: Any = None, **fields: Any) -> View:
        directory = write(tmp_path / "ledger", Writing(**fields))
        return views.build(read(directory), law or ruleset, chips, as_of=AS_OF, generated=GENERATED)

    return make


@pytest.fixture
def steady() -> Callable[[View], View]:
    """The same view with what differs from one writing to the next replaced: times, hashes, digests."""

    def settle(view: View) -> View:
        return dataclasses.replace(
            view,
            run=dataclasses.replace(view.run, started="2026-11-22T21:40:00Z", ended="2026-11-22T21:41:30Z"),
            ledger=dataclasses.replace(view.ledger, head="0" * 64, keys=("2" * 64,)),
            outlook=dataclasses.replace(
                view.outlook,
                pace=dataclasses.replace(view.outlook.pace, since_us=0, until_us=0),
                executed=None,
                fault="the run has ended, and no plan says that it goes on",
            ),
            digests=dict.fromkeys(view.digests, "1" * 64),
        )

    return settle


@pytest.fixture
def schema(root: Path) -> dict[str, Any]:
    """The published schema of the JSON report."""
    loaded: dict[str, Any] = json.loads((root / "configs" / "schema" / "report.schema.json").read_text())
    return loaded


@pytest.fixture
def check(schema: dict[str, Any]) -> Callable[[View], Any]:
    """The report's JSON, having checked it against the published schema."""
    Draft202012Validator.check_schema(schema)

    def checked(view: View) -> Any:
        loaded = json.loads(to_json(view))
        Draft202012Validator(schema).validate(loaded)
        return loaded

    return checked


HOSTILE = "<script>alert('x')</script> \x1b[31mred\x1b]0;t\x07 [bold]b[/bold] \u202egnihtyna\u2028& {{ 7*7 }} \x00"


@pytest.fixture
def hostile() -> str:
    """A name that acts on terminals, pages and markup that believe it."""
    return HOSTILE


@pytest.fixture
def h200() -> dict[str, str]:
    """The identity of a real device."""
    return dict(H200)


@pytest.fixture
def opinion() -> Callable[..., SecondOpinion]:
    """A second opinion with some fields of one's own."""

    def make(**fields: Any) -> SecondOpinion:
        plain = SecondOpinion(
            counter="fvcore",
            model="Net",
            inputs='["float32[64,32]"]',
            ours="131072",
            theirs="131072",
            unavailable="",
            explained=(),
            modules=(("", "Net", "131072"), ("layer", "Linear", "131072")),
        )
        return dataclasses.replace(plain, **fields)

    return make


@pytest.fixture
def tally_of() -> Callable[..., Tally]:
    """Tallies of matrix products."""
    return calls_of
