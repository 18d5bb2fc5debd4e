"""Writes auditor/formulas/schemas.txt for the torch that is installed; the other forms in it are kept.

Run it after formulas were added, or for a new torch once the formulas of what changed have been read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
import torch._inductor.inductor_prims
import torch.distributed._symmetric_memory
import torch.nn.attention.varlen

from auditor.formulas import TABLE
from auditor.formulas.schemas import FILE

OTHERS = (
    "# Other forms that the formulas read as well: of earlier releases, and of in-place operators noted as plain ones."
)
HEAD = "# Every overload that has a price, with the arguments that its formula was read against (torch {})."
_KINDS = {"Tensor": "Tensor", "int": "int", "bool": "bool", "str": "str", "number": "number", "float": "number"}


def kind(torch_type: str) -> str:
    """Torch's type as a kind of argument: ``Optional[List[int]]`` is ``int[]``."""
    inner = re.sub(r"^Optional\[(.*)\]$", r"\1", torch_type)
    if inner.startswith("List["):
        return "other[]" if kind(inner[5:-1]) == "other" else f"{kind(inner[5:-1])}[]"
    return _KINDS.get(inner, "other")


def priced() -> Iterator[tuple[str, Any]]:
    """Every overload of the dispatcher that has a formula, with its schema."""
    dispatched = set(torch._C._dispatch_get_all_op_names())  # noqa: SLF001 - torch offers no other way to its operators
    for schema in torch._C._jit_get_all_schemas():  # noqa: SLF001
        op = f"{schema.name}.{schema.overload_name}" if schema.overload_name else schema.name
        formulas = (TABLE.find(op), TABLE.find_sparse(op))
        if op in dispatched and any(formula is not None and formula.function is not None for formula in formulas):
            yield op, schema


def present() -> list[str]:
    """A line for each of them."""
    return sorted({line(op, schema) for op, schema in priced()})


def line(op: str, schema: Any) -> str:
    """One overload, as the file writes it."""
    arguments = (f"{kind(str(argument.real_type))} {argument.name}" for argument in schema.arguments)
    return f"{op}({', '.join(arguments)})"


def others() -> list[str]:
    """The lines below the heading of other forms, which were written by hand."""
    text = FILE.read_text(encoding="utf-8") if FILE.is_file() else ""
    return [line for line in text.partition(OTHERS)[2].splitlines() if line]


def main() -> None:
    """Write the file."""
    lines = [HEAD.format(torch.__version__.partition("+")[0]), *present(), "", OTHERS, *others()]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
