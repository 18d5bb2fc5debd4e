"""Many ledgers in one database, for questions that no single one answers; the ledgers stay the truth.

`entry` is what is kept of a ledger, `importing` verifies ledgers and takes it from them, `writing` settles what is
known of a run already and stores it, `asking` answers for many runs and `runs` for one. `databases` has the two kinds
of database behind one form of SQL: SQLite, of the standard library, and PostgreSQL; `schema` the tables. The whole can
be thrown away and made again.

For what one database does not hold, `exported` makes rows of a run and `parquet` files of them, which any engine reads.
"""

from auditor.index.asking import GROUPINGS, Filters, Group, groups
from auditor.index.databases import Access, Database, default_place, open_index
from auditor.index.entry import Entry, Refused, take
from auditor.index.importing import add, rebuild
from auditor.index.runs import RunDetails, counted_otherwise, details, find_run
from auditor.index.writing import Outcome, Settled

__all__ = [
    "GROUPINGS",
    "Access",
    "Database",
    "Entry",
    "Filters",
    "Group",
    "Outcome",
    "Refused",
    "RunDetails",
    "Settled",
    "add",
    "counted_otherwise",
    "default_place",
    "details",
    "find_run",
    "groups",
    "open_index",
    "rebuild",
    "take",
]
