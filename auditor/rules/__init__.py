"""What a law says: packs of rules, safe expressions, counters over the buckets of a run, and verdicts."""

from auditor.rules.pack import digest, load, outline, shipped
from auditor.rules.verdict import Finding, Verdict, evaluate

__all__ = ["Finding", "Verdict", "digest", "evaluate", "load", "outline", "shipped"]
