"""What is decided stays decided: learning one answer more never turns a rule, whatever is known already."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.operations import Amount, Bucket, Family, Operations
from auditor.rules import pack
from auditor.rules.cases import Subject
from auditor.rules.expressions import Kind
from auditor.rules.facts import read_answers
from auditor.rules.model import RuleKind
from auditor.rules.paragraphs import UNDETERMINED
from auditor.tally import Phase, Purpose

if TYPE_CHECKING:
    from auditor.rules.model import Fact, Rule

RULES = pack.load()
ASKED = {name: fact for name, fact in RULES.facts.items() if not fact.verdict_of}
JUDGED = [rule for rule in RULES.rules if rule.kind in (RuleKind.MODEL_THRESHOLD, RuleKind.CASE_TEST)]
# A pre-training run is taken to begin from nothing until somebody states what came before.
ASSUMED = {"prior_ops"}

amounts = st.sampled_from([0, 1, 10**9, 10**22, 3 * 10**22, 10**23, 10**25, 25 * 10**24, 10**26, 10**27])
buckets = st.tuples(st.sampled_from(Phase), st.sampled_from(Purpose))


def answers_to(fact: Fact) -> st.SearchStrategy[object]:
    """Answers of the fact's kind, among them those on which rules turn."""
    if fact.kind is Kind.TRUTH:
        return st.booleans()
    if fact.kind is Kind.COUNTRY:
        return st.sampled_from(["US", "DE", "SG", "CN", "HK", "AE", "CY", "IL"])
    if fact.kind is Kind.TEXT:
        return st.sampled_from(["3A090", "3A090.a", "4A090.b", "5A992.z", "none"])
    return amounts


def names_of(rule: Rule) -> list[str]:
    """What the rule and its counter ask, and what the verdicts ask that it turns on."""
    names = {name for expression in rule.expressions for name in expression.names}
    for fact in [RULES.facts[name] for name in names if name in RULES.facts]:
        names |= set(names_of(RULES.find(fact.verdict_of))) if fact.verdict_of else set()
    names |= {line.left_out_if for line in rule.counter.lines} if rule.counter else set()
    return sorted(names & ASKED.keys() - ASSUMED)


def answer(rule: Rule, operations: Operations, answers: dict[str, object]) -> bool | str | None:
    subject = Subject(
        ruleset=RULES, operations=operations, as_of=date(2026, 11, 22), answers=read_answers(RULES, answers)
    )
    if rule.kind is RuleKind.MODEL_THRESHOLD:
        return subject.judge(rule).finding.applies
    outcome = subject.case(rule).walked.outcome
    return None if outcome == UNDETERMINED else outcome


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_learning_never_turns_a_rule(data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(JUDGED))
    run = data.draw(st.dictionaries(buckets, amounts, min_size=1, max_size=4))
    operations = Operations(
        {Bucket(phase, Family.MATMUL, "bfloat16", purpose): Amount(ops) for (phase, purpose), ops in run.items()},
        {},
    )
    known: dict[str, object] = {}
    decided = answer(rule, operations, known)
    for name in data.draw(st.permutations(names_of(rule))):
        known[name] = data.draw(answers_to(ASKED[name]))
        now = answer(rule, operations, known)
        assert decided is None or now == decided, (rule.id, known)
        decided = now
