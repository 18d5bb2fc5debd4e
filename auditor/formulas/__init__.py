"""What each operator costs: pure functions over shapes, in one table; no torch needed."""

from auditor.formulas import matmul
from auditor.formulas.pricing import Price, Pricer
from auditor.formulas.registry import TABLE, TABLE_VERSION, Formula, Registry, formula, free

__all__ = ["TABLE", "TABLE_VERSION", "Formula", "Price", "Pricer", "Registry", "formula", "free", "matmul"]
