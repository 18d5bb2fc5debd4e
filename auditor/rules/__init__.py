"""What a law says: packs of rules, safe expressions, counters over the buckets of a run, and verdicts.

To be read in this order:

- what a pack says, as data: `model` (rules, their standing, groups, facts), `counter`, `certainty`;
- how it is read: `pack` (files), `entries` (rules), `standings`, `naming`, `counters`, `places` (parts in common);
- tests: `parsing` (text to `expressions`), `values` and `ranges` (what is not known), `countries` (codes);
- what a law adds up: `counting` (one record), `ancestors` and `trained` (what the model was made from), `generators`
  (data that models made), `totals` (all of it);
- what follows: `verdict` (lines for models), `cases` over `paragraphs` (transactions, parties, uses), `classification`
  of `circuits`;
- why: `explaining` and `changes`; and what people say: `facts`, `answers_file`.
"""

from auditor.rules.pack import digest, load, outline, shipped
from auditor.rules.verdict import Finding, Verdict, evaluate

__all__ = ["Finding", "Verdict", "digest", "evaluate", "load", "outline", "shipped"]
