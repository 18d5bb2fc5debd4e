"""What a GPU's own counters say that a step executed, by NVIDIA's `ncu`, beside what the auditor counts.

python benchmarks/ncu.py run CASE       # one step between cudaProfilerStart and cudaProfilerStop, for ncu
python benchmarks/ncu.py count CASE     # what the auditor counts of the same step, as JSON

The counters of the tensor path (``sm__ops_path_tensor_src_*``) count operations, a multiply-add as two, by the type of
the operands. Instructions are padded to tiles, so that they can exceed what was asked for, never fall short of it.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TENSOR_METRIC = "sm__ops_path_tensor_src_bf16_dst_fp32"
# Threads that executed such an instruction, and how many operations it is.
VECTOR_METRICS = {
    f"smsp__sass_thread_inst_executed_op_{kind}{what}_pred_on": operations
    for kind in ("f", "h", "d")
    for what, operations in (("add", 1), ("mul", 1), ("fma", 2))
}
_NO_PERMISSION = "ERR_NVGPUCTRPERM"
_WITHIN_S = 300.0


class UnavailableError(Exception):
    """The counters cannot be had here, and why."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One counter of one kernel."""

    kernel: str
    metric: str
    value: int


def read_csv(text: str) -> list[Reading]:
    """The readings in what ``ncu --csv`` printed; what others printed before and between is passed over.

    Raises: UnavailableError: there is no table, or a counter has no value.
    """
    lines = [line for line in text.splitlines() if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    if not rows or not {"Kernel Name", "Metric Name", "Metric Value"} <= rows[0].keys():
        raise UnavailableError(_reason(text))
    return [
        Reading(kernel=row["Kernel Name"], metric=row["Metric Name"], value=_value(row))
        for row in rows
        if row["Metric Name"]
    ]


def _value(row: dict[str, str]) -> int:
    text = row["Metric Value"].replace(",", "")
    if not text.removesuffix(".00").isdigit():
        raise UnavailableError(f"{row['Metric Name']} of {row['Kernel Name']} is {row['Metric Value']!r}")
    return int(text.removesuffix(".00"))


def _reason(text: str) -> str:
    """What ncu says is wrong, in one line."""
    if _NO_PERMISSION in text:
        return f"{_NO_PERMISSION}: this user may not read the GPU's counters"
    said = [line.strip() for line in text.splitlines() if line.startswith("==ERROR==")]
    return (said or ["ncu printed no table"])[0]


def sums(readings: Sequence[Reading]) -> dict[str, int]:
    """Each counter over all kernels, without the suffix that says that it is a sum."""
    found: dict[str, int] = {}
    for reading in readings:
        name = reading.metric.removesuffix(".sum")
        found[name] = found.get(name, 0) + reading.value
    return found


def vector_ops(found: dict[str, int]) -> int:
    """The operations of the vector units."""
    return sum(operations * found.get(name, 0) for name, operations in VECTOR_METRICS.items())


def available(ncu: str) -> set[str]:
    """The counters that this GPU has.

    Raises: UnavailableError: ncu fails.
    """
    text = _told([ncu, "--query-metrics"])
    names = {line.split()[0] for line in text.splitlines() if "__" in line}
    if not names:
        raise UnavailableError(_reason(text))
    return names


def measure(case: str, ncu: str) -> dict[str, int]:
    """The counters' sums over one step.

    Raises: UnavailableError: the GPU does not have them, or this user may not read them.
    """
    known = available(ncu)
    if TENSOR_METRIC not in known:
        like = sorted(name for name in known if name.startswith("sm__ops_path_tensor"))
        raise UnavailableError(f"this GPU has no {TENSOR_METRIC}; it has {', '.join(like) or 'none of its kind'}")
    metrics = [f"{name}.sum" for name in (TENSOR_METRIC, *VECTOR_METRICS) if name in known]
    options = ["--csv", "--print-units", "base", "--profile-from-start", "off", "--metrics", ",".join(metrics)]
    return sums(read_csv(_told([ncu, *options, sys.executable, __file__, "run", case])))


def _told(command: Sequence[str]) -> str:
    try:
        process = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_WITHIN_S,
            check=False,
            env=os.environ | {"LC_ALL": "C"},  # numbers as C writes them
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(str(error)) from error
    return process.stdout


def find_ncu() -> str:
    """Where ncu lies.

    Raises: UnavailableError: it is not installed.
    """
    found = shutil.which("ncu")
    if found is None:
        raise UnavailableError("ncu is not installed (it comes with Nsight Compute)")
    return found


# The steps: forward and backward, in bf16, of sizes that tiles divide.


def _matmul(device: str, shrink: int) -> Callable[[], object]:
    import torch

    layer = torch.nn.Linear(2048 // shrink, 1024 // shrink, bias=False, device=device, dtype=torch.bfloat16)
    x = torch.randn(4096 // shrink, 2048 // shrink, device=device, dtype=torch.bfloat16, requires_grad=True)
    return lambda: layer(x).sum().backward()


def _convolution(device: str, shrink: int) -> Callable[[], object]:
    import torch

    channels = 256 // shrink
    x, weight = (
        torch.randn(*sizes, device=device, dtype=torch.bfloat16)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
        for sizes in ((16 // shrink, channels, 32, 32), (channels, channels, 3, 3))
    )
    return lambda: torch.nn.functional.conv2d(x, weight, padding=1).sum().backward()


def _attention(device: str, shrink: int) -> Callable[[], object]:
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    q, k, v = (
        torch.randn(4, 16, 2048 // shrink, 64, device=device, dtype=torch.bfloat16, requires_grad=True)
        for _ in range(3)
    )

    def step() -> None:
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            torch.nn.functional.scaled_dot_product_attention(q, k, v).sum().backward()

    return step


CASES: dict[str, Callable[[str, int], Callable[[], object]]] = {
    "matmul": _matmul,
    "convolution": _convolution,
    "attention": _attention,
}


def run(case: str) -> None:
    """One step that ncu may look at, after one that it may not."""
    import torch

    step = CASES[case]("cuda", 1)
    step()
    torch.cuda.synchronize()
    driver: Any = torch.cuda.cudart()
    driver.cudaProfilerStart()
    step()
    torch.cuda.synchronize()
    driver.cudaProfilerStop()


def count(case: str, device: str = "cuda", shrink: int = 1) -> dict[str, int]:
    """What the auditor counts of the same step, or of one with shorter sides."""
    import auditor
    from auditor.operations import MATRIX_FAMILIES

    step = CASES[case](device, shrink)
    step()
    with auditor.count() as counted:
        step()
    families = counted.operations.by_family.items()
    return {
        "matrix": sum(ops for family, ops in families if family in MATRIX_FAMILIES),
        "other": sum(ops for family, ops in families if family not in MATRIX_FAMILIES),
        "unpriced": sum(counted.unpriced.values()),
    }


def _counted(case: str) -> dict[str, int]:
    text = _told([sys.executable, __file__, "count", case])
    last = (text.strip().splitlines() or ["nothing was said"])[-1]
    try:
        counted: dict[str, int] = json.loads(last)
    except ValueError as error:
        raise UnavailableError(f"the step could not be counted: {last}") from error
    return counted


def compare() -> Iterator[dict[str, object]]:
    """For each case what was counted, what the counters say, and their ratio; or why there is none."""
    for case in CASES:
        row: dict[str, object] = {"case": case}
        try:
            found = measure(case, find_ncu())
            counted = _counted(case)
        except UnavailableError as error:
            yield row | {"problem": str(error)}
            continue
        tensor, vector = found[TENSOR_METRIC], vector_ops(found)
        yield row | {
            "counted_matrix_ops": str(counted["matrix"]),
            "counted_other_ops": str(counted["other"]),
            "tensor_path_ops": str(tensor),
            "vector_ops": str(vector),
            "tensor_over_counted": round(tensor / counted["matrix"], 6),
        }


def main(arguments: list[str]) -> int:
    what, case = arguments
    if what == "run":
        run(case)
    else:
        print(json.dumps(count(case)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
