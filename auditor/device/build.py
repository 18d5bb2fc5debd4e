"""From the CUDA sources in ``kernels/`` to code for a device: compiled where they run, by NVRTC through cuda-core.

Compiling needs no device and no toolkit, and takes about a tenth of a second, so nothing is kept on disk. What goes
wrong, from a package that is not installed to a driver that refuses the code, is a `DeviceError`.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from auditor.errors import DeviceError
from auditor.resources import tree

_INSTALL = "Install what compiles the kernels with: pip install 'auditor[cuda]'"
_OUT_OF_DATE = "Update the driver, or install NVRTC of the CUDA version that the driver supports."
_LONGEST_REASON = 600
_LEGACY_STREAM = 1  # how the driver calls the default stream, which is torch's number 0
_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_PROPERTIES = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")


@dataclass(frozen=True, slots=True)
class Usage:
    """What one kernel takes of a device, by the compiler's own account."""

    kernel: str
    num_registers: int
    stack_bytes: int
    spill_bytes: int  # stored and loaded


@dataclass(frozen=True, slots=True)
class Compiled:
    """A source file as code for one architecture (``sm_90a``)."""

    name: str
    arch: str
    cubin: bytes = field(repr=False)
    log: str = field(repr=False)

    @property
    def usage(self) -> tuple[Usage, ...]:
        """What each kernel takes, in the order of the compiler's report."""
        return tuple(parse_usage(self.log))


def source(name: str) -> str:
    """The text of a file of ``kernels/``, such as ``counters.cu``."""
    return (tree("kernels") / name).read_text(encoding="utf-8")


def compile_kernel(name: str, *, arch: str) -> Compiled:
    """A file of ``kernels/`` as code for an architecture; no device is needed.

    Raises: DeviceError: cuda-core or NVRTC is missing, or the compiler refuses the source or the architecture.
    """
    core = _cuda_core()
    log = io.StringIO()
    with _told(f"kernels/{name} does not compile for {arch}", remedy=None):
        options = core.ProgramOptions(
            name=name, arch=arch, std="c++17", include_path=str(tree("kernels")), ptxas_options="-v", device_int128=True
        )
        code = core.Program(source(name), "c++", options).compile("cubin", logs=log)
    return Compiled(name, arch, bytes(code.code), log.getvalue().rstrip("\0\n"))


def arch_of(capability: tuple[int, int]) -> str:
    """The architecture of a compute capability; from Hopper on with what no later one keeps."""
    major, minor = capability
    return f"sm_{major}{minor}{'a' if major >= 9 else ''}"


class Module:
    """Compiled code on one device, in the context that torch uses there (the device's primary one)."""

    def __init__(self, compiled: Compiled, ordinal: int) -> None:
        """``ordinal``: the device, as torch numbers it.

        Raises: DeviceError: there is no such device, or its driver does not take the code.
        """
        import torch  # noqa: PLC0415 - compiling alone does not need it

        self.compiled = compiled
        self.ordinal = ordinal
        self._core = _cuda_core()
        self._kernels: dict[str, Any] = {}
        self._ready = threading.local()
        what = f"kernels/{compiled.name} cannot be loaded on device {ordinal}"
        with _told(what, remedy=_OUT_OF_DATE), torch.cuda.device(ordinal):
            self._core.Device(ordinal).set_current()
            self._code = self._core.ObjectCode.from_cubin(compiled.cubin, name=compiled.name)
            for usage in compiled.usage:
                self._kernels[usage.kernel] = self._code.get_kernel(usage.kernel)

    def launch(self, kernel: str, *arguments: Any, grid: int, block: int, stream: int, shared_bytes: int = 0) -> None:
        """Run a kernel on a stream (torch's ``cuda_stream``); this returns before the kernel has run.

        Arguments are addresses (``tensor.data_ptr()``), whole numbers of 64 bits, or ctypes scalars of other kinds.
        The device must be the current one of this thread. Raises: DeviceError.
        """
        with _told(f"{kernel} cannot be run on device {self.ordinal}", remedy=None):
            if not hasattr(self._ready, "here"):  # a thread that has asked nothing of the device has no context
                self._core.Device(self.ordinal).set_current()
                self._ready.here = True
            config = self._core.LaunchConfig(grid=grid, block=block, shmem_size=shared_bytes)
            place = self._core.Stream.from_handle(stream or _LEGACY_STREAM)
            self._core.launch(place, config, self._kernels[kernel], *arguments)


@cache
def load(name: str, ordinal: int) -> Module:
    """A file of ``kernels/`` on a device, compiled and loaded once for each. Raises: DeviceError."""
    import torch  # noqa: PLC0415 - compiling alone does not need it

    with _told(f"device {ordinal} cannot be asked for its compute capability", remedy=None):
        capability = torch.cuda.get_device_capability(ordinal)
    return Module(compile_kernel(name, arch=arch_of(capability)), ordinal)


def parse_usage(log: str) -> Iterator[Usage]:
    """What a compiler's report (``ptxas -v``, through NVRTC or nvcc) says of each kernel."""
    _, *parts = _ENTRY.split(log)
    for kernel, text in zip(parts[::2], parts[1::2], strict=True):
        sizes, registers = _PROPERTIES.search(text), _REGISTERS.search(text)
        if sizes is None or registers is None:
            raise DeviceError(f"the compiler's report on {kernel} cannot be read")
        stack, stores, loads = map(int, sizes.groups())
        yield Usage(kernel, int(registers.group(1)), stack, stores + loads)


def _cuda_core() -> Any:
    try:
        from cuda import core  # noqa: PLC0415 - optional, and loads the driver's bindings
    except ImportError as error:
        raise DeviceError(f"cuda-core is not installed or does not load: {error}", remedy=_INSTALL) from error
    return core


@contextmanager
def _told(what: str, *, remedy: str | None) -> Iterator[None]:
    """Whatever goes wrong inside is an error of ours, with its cause."""
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:
        missing = type(error).__name__ == "DynamicLibNotFoundError"
        reason = " ".join(str(error).replace("\0", "").split())[:_LONGEST_REASON] or type(error).__name__
        raise DeviceError(f"{what}: {reason}", remedy=_INSTALL if missing else remedy) from error
