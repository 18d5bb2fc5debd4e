"""Properties: any bytes give a verdict or the project's own error; sums do not depend on their order."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import AuditorError, LedgerInvalid
from auditor.ledger import read_ledger
from auditor.ledger.log import Scanner, fault_of_tail
from auditor.lines import read_record, write_record
from auditor.operations import Amount, Bucket, Family, Operations, add_up
from auditor.records import Checkpoint, Gap, HardwareAgain, Interval, PurposeChange, Record
from auditor.tally import Phase, Purpose
from tests.ledger.conftest import records_of, written

NAME = "rank-00000.attempt-000.jsonl"
amounts = st.builds(Amount, *[st.integers(min_value=0, max_value=10**30)] * 3)
buckets = st.builds(
    Bucket,
    st.sampled_from(Phase),
    st.sampled_from(Family),
    st.sampled_from(["float32", "bfloat16"]),
    st.sampled_from(Purpose),
)
operations = st.builds(
    Operations,
    st.dictionaries(buckets, amounts, max_size=5),
    st.dictionaries(st.sampled_from(["a::b", "c::d", "e::f"]), st.integers(1, 10**9)),
)
quick = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(a=operations, b=operations, c=operations)
@quick
def test_sums_are_associative_commutative_and_lose_nothing(a: Operations, b: Operations, c: Operations) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Operations.none() == a
    assert (a + b).total == a.total + b.total
    assert add_up([(a, 3)]) == a + a + a


@given(one=operations)
@quick
def test_what_is_written_of_an_amount_is_read_again(one: Operations) -> None:
    assert Operations.from_rows(one.to_rows(), one.unpriced) == one


def judge(files: dict[str, bytes]) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "segments"
        folder.mkdir()
        for file, data in files.items():
            (folder / file).write_bytes(data)
        try:
            return str(read_ledger(Path(name), recount=None).verdict)
        except AuditorError as error:
            return type(error).__name__


@given(data=st.binary(max_size=2000))
@quick
def test_any_bytes_give_the_projects_own_error(data: bytes) -> None:
    assert judge({NAME: data}) in {"LedgerInvalid", "NotALedger"}


@pytest.fixture
def lines(run) -> list[bytes]:
    run.segment()
    return run.path().read_bytes().splitlines(keepends=True)


@given(data=st.data())
@quick
def test_lines_in_any_order_with_noise_between_never_pass(lines: list[bytes], data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from(lines) | st.binary(max_size=20), max_size=len(lines) + 3))
    mixed = b"".join(parts)
    verdict = judge({NAME: mixed})
    assert (verdict == "UNANCHORED") == (mixed == b"".join(lines))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
@quick
def test_any_record_signed_anew_by_the_key_is_read_or_refused(run, lines: list[bytes], data: st.DataObject) -> None:
    """Well signed nonsense: JSON of any form where a value of a record stood."""
    records = records_of(run.path())
    plain = [json.loads(write_record(record)) for record in records]
    target = data.draw(st.sampled_from(plain))
    if data.draw(st.booleans()):
        target = target[2]
    places = range(len(target)) if isinstance(target, list) else sorted(target)
    target[data.draw(st.sampled_from(places))] = data.draw(json_values)
    changed = [json.dumps(one, sort_keys=True, separators=(",", ":")).encode() for one in plain]
    verdict = judge({NAME: written(changed, records[0].body, run.key)})
    # Whoever holds the key may honestly say something else, of what no sum and no order tells.
    assert verdict in {"UNANCHORED", "INCOMPLETE", "INVALID", "LedgerInvalid", "SchemaFromFuture"}


@given(text=st.text(max_size=30), time_us=st.integers(0, 10**16 - 1), flag=st.booleans())
@quick
def test_a_record_is_read_as_it_was_written(text: str, time_us: int, flag: bool) -> None:
    record = Record(time_us=time_us, body=Gap(cause="x", message=text, lower_bound=flag))
    assert read_record(write_record(record)) == record


counts = st.integers(0, 10**18 - 1)


@given(
    time_us=st.integers(0, 10**16 - 1),
    first_step=st.integers(1, 10**18 - 1),
    steps=counts,
    elapsed_us=counts,
    tallies=st.lists(st.tuples(counts, st.integers(1, 10**18 - 1)), max_size=8).map(tuple),
)
@quick
def test_an_interval_is_read_as_it_was_written(
    time_us: int, first_step: int, steps: int, elapsed_us: int, tallies: tuple[tuple[int, int], ...]
) -> None:
    body = Interval(first_step=first_step, steps=steps, elapsed_us=elapsed_us, tallies=tallies)
    record = Record(time_us=time_us, body=body)
    assert read_record(write_record(record)) == record


INTERVAL = b'[1795410449807829,"interval",[4,3,2000,[[0,3],[1,1]]]]'
CHECKPOINT = b'[1795410449807829,"checkpoint",["%sQ=="]]' % (b"a" * 85)
AGAIN = b'[1795410449807829,"again",[3,["12","a b",""]]]'


@given(earlier=counts, values=st.lists(st.text(max_size=4) | st.sampled_from(["", ",", '"', '","', "\\"]), max_size=4))
@quick
def test_a_repeated_record_is_read_as_it_was_written(earlier: int, values: list[str]) -> None:
    record = Record(time_us=7, body=HardwareAgain(earlier=earlier, values=tuple(values)))
    assert read_record(write_record(record)) == record


@pytest.mark.parametrize("line", [INTERVAL, CHECKPOINT, AGAIN])
def test_the_frequent_kinds_have_one_form(line: bytes) -> None:
    """Nothing but the line itself says what it says: neither with a byte more, nor less, nor another."""
    record = read_record(line)
    assert write_record(record) == line
    for place in range(len(line) + 1):
        for byte in b' 0-+.e"x,[]\n':
            start, end = line[:place] + bytes([byte]), line[place:]
            for changed in (start + end, start + end[1:]):
                try:
                    other = read_record(changed)
                except LedgerInvalid:
                    continue
                assert write_record(other) == changed
                assert (other == record) == (changed == line)


@pytest.mark.parametrize(
    "line",
    [
        INTERVAL.replace(b"[4,3", b"[0,3"),
        INTERVAL.replace(b"[0,3]", b"[0,0]"),
        INTERVAL.replace(b"[0,3]", b"[-1,3]"),
        INTERVAL.replace(b"[0,3]", b"[0,%s]" % (b"9" * 19)),
        INTERVAL.replace(b"[0,3]", b",".join([b"[0,3]"] * 8)),
        INTERVAL.replace(b"2000", b"2000.0"),
        INTERVAL.replace(b'"interval",[4,3,2000,', b'"interval",{"steps":4},['),
        CHECKPOINT.replace(b"Q==", b"R=="),
        CHECKPOINT.replace(b"Q==", b"Q="),
        CHECKPOINT.replace(b"aQ", b"-Q"),
    ],
)
def test_what_is_nearly_of_a_frequent_kind_is_refused(line: bytes) -> None:
    with pytest.raises(LedgerInvalid):
        read_record(line)


TIME = "1767323045000006"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(TIME, f" {TIME}"),
        lambda text: text.replace(TIME, f"0{TIME}"),
        lambda text: text.replace(TIME, f"{TIME}.0"),
        lambda text: text.replace(TIME, "true"),
        lambda text: text.replace(TIME, "-1"),
        lambda text: text.replace(TIME, "9" * 17),
        lambda text: text.replace(TIME, "9" * 5000),
        lambda text: text.replace(TIME, "NaN"),
        lambda text: text.replace("evaluation", "\\u0065valuation"),
        lambda text: text.replace('"purpose":"e', '"extra":1,"purpose":"e'),
        lambda text: text.replace('{"purpose":"evaluation"}', '{"purpose":"evaluation","purpose":"evaluation"}'),
        lambda text: text.replace('{"purpose":"evaluation"}', '["evaluation"]'),
        lambda text: text.replace("]", ",1]"),
        lambda text: text.replace("evaluation", "\x00"),
        lambda text: text.replace("evaluation", "\xe9valuation"),
        lambda text: "[" * 100_000,
        lambda text: text.encode("utf-16").decode("latin-1"),
    ],
)
def test_a_record_in_any_other_form_is_refused(change) -> None:
    text = write_record(Record(time_us=int(TIME), body=PurposeChange(purpose="evaluation")))
    assert read_record(text)
    changed = change(text.decode()).encode("latin-1")
    assert changed != text
    with pytest.raises(LedgerInvalid):
        read_record(changed)


@given(cut=st.integers(0, 400), zeros=st.integers(0, 40))
@quick
def test_a_cut_line_is_torn_and_a_whole_one_with_more_is_not(cut: int, zeros: int) -> None:
    for body in (Gap(cause="x", message="", lower_bound=True), Checkpoint(signature="a" * 85 + "Q==")):
        line = write_record(Record(time_us=int(TIME), body=body))
        assert fault_of_tail([], line[:cut] + bytes(zeros)) is None
        assert fault_of_tail([], line + b"x" + bytes(zeros)) == (0, "does not end where it should")


def test_a_line_without_end_is_refused_in_bounded_memory() -> None:
    scanner = Scanner()

    def feed() -> None:
        for _ in range(40):
            list(scanner.feed(b"x" * 2**20))

    with pytest.raises(LedgerInvalid, match="longer than"):
        feed()
