"""Whatever the bytes, the verifier gives a verdict or the project's own error; what a fuzzer once found stays found."""

from __future__ import annotations

import tempfile
import typing
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.records import Body
from tests.ledger.mutations import golden, judge, mutant

CORPUS = Path(__file__).with_name("corpus")


def verdict_of(data: bytes) -> str:
    with tempfile.TemporaryDirectory() as place:
        return judge(mutant(data), Path(place))


def test_the_ledger_that_mutants_are_made_of_is_whole_and_has_every_kind(good: str) -> None:
    assert verdict_of(b"") == good
    kinds = {line.split(b'"')[1].decode() for lines in golden().lines.values() for line in lines}
    assert kinds == {body.kind for body in typing.get_args(Body)} - {"checkpoint"}


@given(data=st.binary(max_size=60))
@settings(max_examples=400)
def test_a_mutant_gets_a_verdict_or_the_projects_own_error(data: bytes) -> None:
    verdict_of(data)


def test_the_corpus_of_the_fuzzer_holds_and_reaches_every_verdict(good: str) -> None:
    verdicts = Counter(verdict_of(seed.read_bytes()) for seed in sorted(CORPUS.iterdir()))
    assert {good, "INCOMPLETE", "INVALID", "LedgerInvalid", "NotALedger", "SchemaFromFuture"} <= set(verdicts), verdicts
