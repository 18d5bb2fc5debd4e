"""Properties: any bytes give a verdict or the project's own error; sums do not depend on their order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import AuditorError, LedgerInvalid
from auditor.ledger import read_ledger
from auditor.ledger.chain import Scanner, frame, is_torn
from auditor.operations import Amount, Bucket, Family, Operations, add_up
from auditor.records import Gap, PurposeChange, Record, read_record
from auditor.tally import Phase, Purpose

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


@given(data=st.data())
@quick
def test_any_record_framed_anew_by_the_key_is_read_or_refused(run, lines: list[bytes], data: st.DataObject) -> None:
    """Well signed nonsense: JSON of any form where a value of a record stood."""
    import hashlib
    import json

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    )
    line = data.draw(st.sampled_from(lines))
    plain = json.loads(line)["record"]
    target = data.draw(st.sampled_from([plain, plain["body"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(json_values)
    record = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(b"auditor.record/1\n" + record).digest()
    signature = run.key.sign(b"auditor.head/1\n" + digest).hex()
    ending = f',"signature":"{signature}"' if b'"signature":"' in line else ""
    framed = b'{"record":%s,"hash":"%s"%s}\n' % (record, digest.hex().encode(), ending.encode())
    changed = [framed if one == line else one for one in lines]
    verdict = judge({NAME: b"".join(changed)})
    # The last line may honestly say something else; any other is named by the line after it.
    assert verdict != "UNANCHORED" or line == lines[-1] or framed == line


@given(
    text=st.text(max_size=30),
    seq=st.integers(0, 2**62),
    flag=st.booleans(),
)
@quick
def test_a_record_is_read_as_it_was_written(text: str, seq: int, flag: bool) -> None:
    record = Record(
        seq=seq,
        prev="0" * 64,
        time="2026-01-02T03:04:05.000006Z",
        body=Gap(cause="x", message=text, lower_bound=flag),
    )
    assert read_record(record.canonical()) == record


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"seq":1', '"seq": 1'),
        lambda text: text.replace('"seq":1', '"seq":1,"seq":1'),
        lambda text: text.replace('"seq":1', '"seq":1.0'),
        lambda text: text.replace('"seq":1', '"seq":true'),
        lambda text: text.replace('"seq":1', '"seq":' + "9" * 30),
        lambda text: text.replace('"seq":1', '"seq":' + "9" * 5000),
        lambda text: text.replace('"seq":1', '"seq":NaN'),
        lambda text: text.replace("evaluation", "\\u0065valuation"),
        lambda text: text.replace("03:04", "3:04"),
        lambda text: text.replace('"purpose":"e', '"extra":1,"purpose":"e'),
        lambda text: text.replace("evaluation", "\x00"),
        lambda text: "[" * 100_000,
        lambda text: text.encode("utf-16").decode("latin-1"),
    ],
)
def test_a_record_in_any_other_form_is_refused(change) -> None:
    text = Record(
        seq=1, prev="0" * 64, time="2026-01-02T03:04:05.000006Z", body=PurposeChange(purpose="evaluation")
    ).canonical()
    assert read_record(text)
    changed = change(text.decode()).encode("latin-1")
    assert changed != text
    with pytest.raises(LedgerInvalid):
        read_record(changed)


@given(cut=st.integers(0, 400), zeros=st.integers(0, 40))
@quick
def test_a_cut_line_is_torn_and_a_whole_one_with_more_is_not(run, cut: int, zeros: int) -> None:
    record = Record(
        seq=0,
        prev="0" * 64,
        time="2026-01-02T03:04:05.000006Z",
        body=Gap(cause="x", message="", lower_bound=True),
    )
    line = frame(record.canonical(), run.key).line.rstrip(b"\n")
    assert is_torn(line[:cut] + bytes(zeros))
    assert not is_torn(line + b"x" + bytes(zeros))


def test_a_line_without_end_is_refused_in_bounded_memory() -> None:
    scanner = Scanner()

    def feed() -> None:
        for _ in range(40):
            list(scanner.feed(b"x" * 2**20))

    with pytest.raises(LedgerInvalid, match="longer than"):
        feed()
