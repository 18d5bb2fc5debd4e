"""Operations per second that a device reaches: through the library's matrix product, and by kernels of our own.

What each way shows of the peak:

- *The library* (`torch.mm`, `torch._scaled_mm`, `torch._int_mm` on squares that fill the device, random operands): what
  training gets. The only way to the tensor cores' full rate where that takes instructions of a whole warp group
  (Hopper's wgmma, Blackwell's tcgen05). Short of the peak by tails, by loading, and where power limits the clock.
- *Registers* (``mma.sync`` on operands that never leave them): free of memory and of the library's choices. Close to
  the peak up to Ada and on GeForce Blackwell; on Hopper and data-centre Blackwell some three fifths of it and less,
  since they keep these instructions for compatibility. Operands of one draw little power, so clocks stay high.
- *Multiply-adds* of single threads: the vector units' rates, which are peaks of their own (fp64, fp32, fp16_vector).

Each is a lower bound of what the silicon can do, and an upper bound of nothing; for a type the highest of them stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import torch

from auditor.device.build import Module
from auditor.device.timing import fastest_s
from auditor.errors import DeviceError

SOURCE = "probe.cu"
LIBRARY, REGISTERS = "library", "registers"
_BLOCK, _BLOCKS_PER_SM, _ROUNDS = 256, 4, 2048
_LONGEST_SIDE, _SIDES = 8192, 512
_HALVES_OF_ONE = 0x3C003C00
# Compute capabilities whose library multiplies fp64 on tensor cores of that width.
_FP64_TENSOR = frozenset({(8, 0), (9, 0), (10, 0), (10, 3)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A kernel of probe.cu that measures a rate; ``one``: the register that holds ones of its type."""

    name: str
    dtype: str
    one: int


KERNELS = (
    Kernel(name="fma_fp64", dtype="fp64", one=0x3FF0000000000000),
    Kernel(name="fma_fp32", dtype="fp32", one=0x3F800000),
    Kernel(name="fma_fp16", dtype="fp16_vector", one=_HALVES_OF_ONE),
    Kernel(name="mma_fp64", dtype="fp64_tensor", one=0x3FF0000000000000),
    Kernel(name="mma_tf32", dtype="tf32", one=0x3F800000),
    Kernel(name="mma_fp16", dtype="fp16", one=_HALVES_OF_ONE),
    Kernel(name="mma_bf16", dtype="bf16", one=0x3F803F80),
    Kernel(name="mma_fp8", dtype="fp8", one=0x38383838),
    Kernel(name="mma_int8", dtype="int8", one=0x01010101),
)
# Types of the catalogue that nothing here measures.
UNMEASURED = {
    "int4": "the library has no product of this type, and since Hopper the tensor cores have none",
    "fp6": "the library has no product of this type",
}


def kernel_tera(kernel: Kernel, module: Module, *, until_s: float) -> Decimal:
    """The rate that a kernel of ours reaches on the module's device, which is the current one.

    Raises: DeviceError: the architecture has no such instruction, or time is up.
    """
    device = torch.device("cuda", module.ordinal)
    grid = _BLOCKS_PER_SM * torch.cuda.get_device_properties(device).multi_processor_count
    results = torch.zeros(grid * _BLOCK, dtype=torch.float64, device=device)
    macs = torch.zeros(1, dtype=torch.int64, device=device)
    stream = torch.cuda.current_stream(device).cuda_stream

    def run() -> None:
        module.launch(
            kernel.name,
            *(results.data_ptr(), macs.data_ptr(), _ROUNDS, kernel.one),
            grid=grid,
            block=_BLOCK,
            stream=stream,
        )

    run()
    num_macs = int(macs.item()) * grid
    if not num_macs:
        raise DeviceError("the architecture has no such instruction")
    return tera(2 * num_macs, fastest_s(run, until_s=until_s))


def tera(operations: int, taken_s: float) -> Decimal:
    """So many operations in this time, in tera-operations per second."""
    return (Decimal(operations) / Decimal(taken_s) / 10**12).quantize(Decimal("0.001"))


# A product of two squares of this side on the current device, ready to be run.
Product = Callable[[int], Callable[[], object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryProduct:
    """The library's product of one type; ``operand_bytes``: of an element, while the operands are made."""

    dtype: str
    operand_bytes: int
    make: Product


def library_tera(product: LibraryProduct, *, limit_bytes: int, until_s: float) -> Decimal:
    """The rate of the library's product on the current device.

    Raises: DeviceError: time is up. Whatever torch raises where it has no such product.
    """
    if time.monotonic() >= until_s:
        raise DeviceError("there was no time left for it")
    side = longest_side(limit_bytes, product.operand_bytes)
    run = product.make(side)
    return tera(2 * side**3, fastest_s(run, until_s=until_s))


def longest_side(limit_bytes: int, operand_bytes: int) -> int:
    """Of squares of which four fit into the limit: two operands, the result, and one in the making."""
    side = _LONGEST_SIDE
    while 4 * operand_bytes * side**2 > limit_bytes and side > _SIDES:
        side -= _SIDES
    return side


def library_products(capability: tuple[int, int]) -> Iterator[LibraryProduct]:
    """All products that torch may have on a device of this compute capability."""
    fp64 = "fp64_tensor" if capability in _FP64_TENSOR else "fp64"
    yield LibraryProduct(dtype="bf16", operand_bytes=2, make=_plain(torch.bfloat16))
    yield LibraryProduct(dtype="fp16", operand_bytes=2, make=_plain(torch.float16))
    yield LibraryProduct(dtype="tf32", operand_bytes=4, make=_plain(torch.float32, precision="high"))
    yield LibraryProduct(dtype="fp32", operand_bytes=4, make=_plain(torch.float32, precision="highest"))
    yield LibraryProduct(dtype=fp64, operand_bytes=8, make=_plain(torch.float64))
    yield LibraryProduct(dtype="fp8", operand_bytes=2, make=_fp8)
    yield LibraryProduct(dtype="int8", operand_bytes=4, make=_int8)
    yield LibraryProduct(dtype="fp4", operand_bytes=2, make=_fp4)


def _plain(dtype: torch.dtype, precision: str = "") -> Product:
    def make(side: int) -> Callable[[], object]:
        a, b = (torch.randn(side, side, dtype=dtype, device="cuda") for _ in range(2))
        out = torch.empty_like(a)

        def run() -> None:
            with _float32_products(precision):
                torch.mm(a, b, out=out)

        return run

    return make


@contextmanager
def _float32_products(precision: str) -> Iterator[None]:
    """Inside, products of float32 are computed as asked for; "" leaves them as they are."""
    if not precision:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _fp8(side: int) -> Callable[[], object]:
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device="cuda").to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device="cuda")
    product: Any = torch._scaled_mm  # noqa: SLF001 - torch's only product of this type
    return lambda: product(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)


def _int8(side: int) -> Callable[[], object]:
    a, b = (torch.randint(-128, 128, (side, side), dtype=torch.int8, device="cuda") for _ in range(2))
    product: Any = torch._int_mm  # noqa: SLF001 - torch's only product of this type
    return lambda: product(a, b.t())


def _fp4(side: int) -> Callable[[], object]:
    """NVFP4: two elements in a byte, one scale of fp8 for sixteen."""
    packed: Any = torch.float4_e2m1fn_x2
    a, b = (torch.randint(0, 256, (side, side // 2), dtype=torch.uint8, device="cuda").view(packed) for _ in range(2))
    scale = torch.ones(side * side // 16, device="cuda").to(torch.float8_e4m3fn)
    product: Any = torch._scaled_mm  # noqa: SLF001 - torch's only product of this type
    return lambda: product(a, b.t(), scale_a=scale, scale_b=scale, out_dtype=torch.bfloat16)
