"""The survey as people read it: one table of counts, one of differences, each with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Row = dict[str, Any]
MATRIX = ("matmul", "attention", "convolution", "recurrent")

_HOW = """\
One training step of each model (forward, backward, optimizer), with random weights, on a CPU. Operations; a
multiply-add is two. Every counter is given the same step: the same seed, a model built anew.

- **forward, backward, optimizer**: the auditor's Python counter; *other* is inference and recomputation in the step.
- **native**: the auditor's native counter against its Python one, operator by operator and signature by signature;
  *named* where torch itself runs another operator for the same work because a dispatch mode is there.
- **compiled**: matrix work of the step under torch.compile against the same step without; *lower bound* where compiled
  code runs an operator that has no price.
- **FlopCounterMode**: its total against our matrix work. For each signature its own formula is asked what it would
  count, and what it did count must be the sum: what is left over is *unexplained*.
- **fvcore**: its matrix work of the forward pass, in training mode, with the auditor's handles, against ours.
- **figure**: matrix work of the forward pass worked out by hand, or published, against ours; a published figure is held
  to half a unit of its last digit.

*exact*: both agree to the operation. *named*: all of the difference is explained below, by operators. A dash: there is
none."""


def to_markdown(report: Row) -> str:
    """The whole report."""
    rows: list[Row] = report["rows"]
    good = [row for row in rows if "error" not in row]
    parts = ["# Accuracy: what the auditor counts, beside others", "", _HOW, ""]
    parts += [f"- {name}: {value}" for name, value in report["machine"].items()]
    parts += [f"- {name}: {report[name]}" for name in ("date", "command", "seconds")]
    parts += ["", "## Summary", "", *_summary(rows), "", "## Counts", "", *_counts(good)]
    sections = {
        "Failed": _failed(rows),
        "Operators without a price": _unpriced(good),
        "Native counter": _native(good),
        "torch.compile": _compiled(good),
        "FlopCounterMode": _flop_counter(good),
        "fvcore": _fvcore(good),
        "Figures": _figures(good),
        "Where the work is": _modules(good),
    }
    for title, lines in sections.items():
        if found := list(lines):
            parts += ["", f"## {title}", "", *found]
    return "\n".join(parts) + "\n"


def verdict(column: Any) -> str:
    """A peer's column in a word or two."""
    if not isinstance(column, dict) or "unavailable" in column:
        return "-"
    if int(column["unexplained"]):
        return f"**{int(column['unexplained']):,} unexplained**"
    return "named" if column["differences"] else "exact"


# Torch puts gradients by index, and takes the lengths of the ctc loss, another way where a dispatch mode is there, as
# the Python counter is: the same work under another name. The native counter sees what runs when nobody watches.
OTHERWISE_UNDER_A_MODE = {
    *("aten::index_put", "aten::_index_put_impl"),
    *("aten::_ctc_loss", "aten::_ctc_loss.Tensor", "aten::_ctc_loss_backward", "aten::_ctc_loss_backward.Tensor"),
}


def native_verdict(row: Row) -> str:
    """The native counter beside the Python one."""
    if "unavailable" in row["native"]:
        return "not available"
    apart = row["native_differs"]
    if apart is None:
        return "-"
    unnamed = [each for each in apart if each["operator"] not in OTHERWISE_UNDER_A_MODE]
    return f"{len(unnamed)} differ" if unnamed else "named" if apart else "exact"


def compiled_verdict(row: Row) -> str:
    """Matrix work under torch.compile beside eager."""
    column = row["compiled"]
    if "unavailable" in column:
        return "not run" if column["unavailable"] == "not run" else "failed"
    if column["eager"] == column["compiled"]:
        return "exact"
    eager, compiled = (sum(map(int, column[side].values())) for side in ("eager", "compiled"))
    if compiled < eager and column["unpriced"]:
        return "lower bound"
    return f"**{compiled - eager:+,}**"


def _figures_verdict(row: Row) -> str:
    column = row["figures"]
    if not isinstance(column, list):
        return "failed"
    if not column:
        return "-"
    words = [verdict(figure) for figure in column]
    bad = [word for word in words if "unexplained" in word]
    return bad[0] if bad else "exact" if set(words) == {"exact"} else "named"


def _summary(rows: Sequence[Row]) -> Iterator[str]:
    good = [row for row in rows if "error" not in row]
    yield f"{len(rows)} models, {len(rows) - len(good)} of them failed."
    yield ""
    yield "| | exact | named | unexplained or different | none |"
    yield "|---|---:|---:|---:|---:|"
    columns = {
        "native": [native_verdict(row) for row in good],
        "compiled": [compiled_verdict(row) for row in good],
        "FlopCounterMode": [verdict(row["flop_counter"]) for row in good],
        "fvcore": [verdict(row["fvcore"]) for row in good],
        "figure": [_figures_verdict(row) for row in good],
    }
    for name, words in columns.items():
        exact, named = words.count("exact"), words.count("named")
        none = sum(words.count(word) for word in ("-", "not available", "not run", "failed"))
        yield f"| {name} | {exact} | {named} | {len(words) - exact - named - none} | {none} |"


def _counts(rows: Sequence[Row]) -> Iterator[str]:
    peers = "native | compiled | FlopCounterMode | fvcore | figure"
    yield f"| model | library | forward | backward | optimizer | other | {peers} |"
    yield "|---|---|---:|---:|---:|---:|---|---|---|---|---|"
    for row in rows:
        if "unavailable" in row["dispatch"]:
            amounts = [row["dispatch"]["unavailable"], "", "", ""]
        else:
            phases = {phase: int(ops) for phase, ops in row["dispatch"]["phases"].items()}
            other = phases["inference"] + phases["recompute"]
            amounts = [f"{ops:,}" for ops in (phases["forward"], phases["backward"], phases["optimizer"], other)]
        words = [native_verdict(row), compiled_verdict(row), verdict(row["flop_counter"]), verdict(row["fvcore"])]
        yield _line(row["name"], row["library"], *amounts, *words, _figures_verdict(row))


def _line(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _table(head: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield head
        yield "|" + "---|" * (head.count("|") - 1)
        yield from found


def _unavailable(rows: Sequence[Row], column: str) -> Iterator[str]:
    for row in rows:
        cell = row[column]
        if isinstance(cell, dict) and cell.get("unavailable", "not run") != "not run":
            yield _line(row["name"], cell["unavailable"])


def _failed(rows: Sequence[Row]) -> Iterator[str]:
    broken = [_line(row["name"], row["error"]) for row in rows if "error" in row]
    good = [row for row in rows if "error" not in row]
    for column in ("dispatch", "compiled", "flop_counter", "fvcore", "figures"):
        broken += [line.replace("| ", f"| {column}: ", 1) for line in _unavailable(good, column)]
    yield from _table("| column or model | why |", broken)


def _unpriced(rows: Sequence[Row]) -> Iterator[str]:
    lines = []
    for row in rows:
        for column in ("dispatch", "native", "compiled"):
            missing = row[column].get("unpriced", {})
            lines += [_line(row["name"], column, op, calls) for op, calls in missing.items()]
    yield from _table("| model | counter | operator | calls |", lines)


def _native(rows: Sequence[Row]) -> Iterator[str]:
    lines = [
        _line(row["name"], each["operator"], each["phase"], each["native"], each["dispatch"], f"`{each['arguments']}`")
        for row in rows
        for each in row["native_differs"] or ()
    ]
    yield from _table("| model | operator | phase | native calls | Python calls | arguments |", lines)


def _compiled(rows: Sequence[Row]) -> Iterator[str]:
    lines = []
    for row in rows:
        column = row["compiled"]
        if "unavailable" not in column:
            sides = [[f"{int(column[side][family]):,}" for family in MATRIX] for side in ("eager", "compiled")]
            cells = [eager if eager == other else f"{eager} / {other}" for eager, other in zip(*sides, strict=True)]
            lines.append(_line(row["name"], *cells, ", ".join(column["unpriced"]) or "-"))
    yield from _table(f"| model | {' | '.join(MATRIX)} | without a price |", lines)


def _flop_counter(rows: Sequence[Row]) -> Iterator[str]:
    lines = [
        _line(
            row["name"],
            each["operator"].removeprefix("aten::"),
            each["calls"],
            f"{int(each['ours']):,}",
            f"{int(each['theirs']):,}",
            each["why"] or "**unexplained**",
        )
        for row in rows
        for each in row["flop_counter"].get("differences", ())
    ]
    yield from _table("| model | operator | calls | ours | FlopCounterMode | why |", lines)


def _fvcore(rows: Sequence[Row]) -> Iterator[str]:
    lines = [
        _line(
            row["name"],
            each["operator"].removeprefix("aten::"),
            each["module"],
            f"{int(each['ours']):,}",
            f"{int(each['theirs']):,}",
            f"{each['note'].partition(';')[0]}",
        )
        for row in rows
        for each in row["fvcore"].get("differences", ())
    ]
    yield from _table("| model | operator | module | ours | fvcore | why |", lines)


def _figures(rows: Sequence[Row]) -> Iterator[str]:
    lines = []
    for row in rows:
        for each in row["figures"] if isinstance(row["figures"], list) else ():
            named = ", ".join(f"{part['why']} ({int(part['ops']):+,})" for part in each["differences"])
            left = f"**{int(each['unexplained']):,} unexplained**" if int(each["unexplained"]) else named or "none"
            lines.append(_line(row["name"], each["source"], f"{int(each['ours']):,}", f"{int(each['theirs']):,}", left))
    yield from _table("| model | figure | ours | theirs | difference |", lines)


def _modules(rows: Sequence[Row]) -> Iterator[str]:
    lines = []
    for row in rows:
        sizes = {each["path"]: int(each["ops"]) for each in row["fvcore"].get("modules", ())}
        whole = sizes.pop("", 0)
        parts = sorted((-ops, path) for path, ops in sizes.items() if "." not in path)
        if whole and parts:
            lines.append(_line(row["name"], ", ".join(f"{path} {-ops / whole:.1%}" for ops, path in parts[:6])))
    yield from _table("| model | matrix work of the forward pass, by module |", lines)
