"""What one device does, whatever it calls itself: peak rates by type, bandwidth, second cache, multiprocessors.

`measure` takes at most some twenty seconds and a gigabyte (beside what a CUDA context takes), and runs in a process of
its own (`auditor.device.probing`): it fills the device, and what it allocates goes with the process. As a program,
``python -m auditor.device.probe`` measures all visible devices at once and ``... probe 2`` the third of them; either
prints a JSON list of measurements.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

import torch

from auditor.device import memory, rates
from auditor.device.build import Module, load
from auditor.hardware.measured import Measurement

LIMIT_S = 20.0
LIMIT_BYTES = 1 << 30
_LONGEST_REASON = 200
_MOST_MULTIPROCESSORS = 4096
_STAY_NS = 50_000
_BLOCKS = 2048  # several times as many as any device holds at once
_RATE_S = 0.6  # of one way to measure one rate
_ALL = "device"


def measure(device_index: int, *, limit_s: float = LIMIT_S, limit_bytes: int = LIMIT_BYTES) -> Measurement:
    """What was measured of the device that torch numbers so, and why the rest was not; nothing is raised.

    Where there is no such device, only the reason is given, under ``device``.
    """
    started_s = time.monotonic()
    probe = _Probe(device_index, started_s + limit_s, limit_bytes)
    try:
        reason = _absent(device_index)
        if not reason:
            probe.run()
    except Exception as error:  # noqa: BLE001 - a driver or a device may fail in any way
        reason = _said(error)
    if reason:
        probe.not_measured[_ALL] = reason
    return Measurement(
        uuid=probe.uuid,
        rates_tera=probe.rates_tera,
        dram_gb_per_s=probe.found.get("dram_gb_per_s"),
        l2_bytes=probe.found.get("l2_bytes"),
        sm_count=probe.found.get("sm_count"),
        seconds=Decimal(time.monotonic() - started_s).quantize(Decimal("0.01")),
        not_measured=probe.not_measured,
    )


def _absent(device_index: int) -> str:
    if not torch.cuda.is_available():
        return f"no CUDA device: torch {torch.__version__} sees none"
    if not 0 <= device_index < torch.cuda.device_count():
        return f"no CUDA device {device_index}: torch sees {torch.cuda.device_count()}"
    return ""


class _Probe:
    """The parts of a measurement, one after the other; one that fails is a reason, and the next is begun."""

    def __init__(self, index: int, until_s: float, limit_bytes: int) -> None:
        self.uuid = ""
        self.rates_tera: dict[str, Decimal] = {}
        self.found: dict[str, Any] = {}
        self.not_measured: dict[str, str] = {}
        self._index = index
        self._until_s = until_s
        self._limit_bytes = limit_bytes

    def run(self) -> None:
        """Measure everything, the library's rates first: they need nothing of ours."""
        with torch.cuda.device(self._index), torch.inference_mode():
            properties = torch.cuda.get_device_properties(self._index)
            self.uuid = f"GPU-{properties.uuid}"
            free_bytes, _ = torch.cuda.mem_get_info()
            self._limit_bytes = min(self._limit_bytes, free_bytes // 2)
            for product in rates.library_products((properties.major, properties.minor)):
                library = partial(rates.library_tera, product, limit_bytes=self._limit_bytes)
                self._rate(product.dtype, rates.LIBRARY, library)
            self._by_kernels()
        self._explain()

    def _by_kernels(self) -> None:
        try:
            module = load(rates.SOURCE, self._index)
        except Exception as error:  # noqa: BLE001 - the compiler, its package or the driver may be absent or broken
            registers = [f"{kernel.dtype} ({rates.REGISTERS})" for kernel in rates.KERNELS]
            wanted = ("dram_gb_per_s", "l2_bytes", "sm_count", *registers)
            self.not_measured |= dict.fromkeys(wanted, _said(error))
            return
        self._part("sm_count", lambda: multiprocessors(module))
        for kernel in rates.KERNELS:
            self._rate(kernel.dtype, rates.REGISTERS, partial(rates.kernel_tera, kernel, module))
        self._memory(module)

    def _memory(self, module: Module) -> None:
        try:
            buffers = memory.Buffers(module, self._limit_bytes)
        except Exception as error:  # noqa: BLE001
            self.not_measured |= dict.fromkeys(("dram_gb_per_s", "l2_bytes"), _said(error))
            return
        self._part("dram_gb_per_s", lambda: memory.gb_per_s(buffers, until_s=self._until_s))
        self._part("l2_bytes", lambda: memory.l2_bytes(buffers, until_s=self._until_s))

    def _rate(self, dtype: str, way: str, act: Callable[..., Decimal]) -> None:
        """A rate by one way; the highest of all ways stands."""
        try:
            rate = act(until_s=min(time.monotonic() + _RATE_S, self._until_s))
        except Exception as error:  # noqa: BLE001
            self.not_measured[f"{dtype} ({way})"] = _said(error)
        else:
            self.rates_tera[dtype] = max(rate, self.rates_tera.get(dtype, rate))
        finally:
            with suppress(Exception):
                torch.cuda.empty_cache()

    def _part(self, name: str, act: Callable[[], object]) -> None:
        try:
            self.found[name] = act()
        except Exception as error:  # noqa: BLE001
            self.not_measured[name] = _said(error)

    def _explain(self) -> None:
        """A type that no way has measured has a reason under its own name."""
        for dtype, reason in rates.UNMEASURED.items():
            self.not_measured.setdefault(dtype, reason)
        for name in [name for name in self.not_measured if name.endswith(")")]:
            dtype = name.partition(" (")[0]
            if dtype not in self.rates_tera:
                reason = f"{name}: {self.not_measured.pop(name)}"
                self.not_measured[dtype] = "; ".join(filter(None, (self.not_measured.get(dtype), reason)))


def multiprocessors(module: Module) -> int:
    """On how many multiprocessors blocks come to stay, while more are waiting than the device holds."""
    blocks = torch.zeros(_MOST_MULTIPROCESSORS, dtype=torch.int64, device=torch.device("cuda", module.ordinal))
    stream = torch.cuda.current_stream(module.ordinal).cuda_stream
    words = (blocks.data_ptr(), _MOST_MULTIPROCESSORS, _STAY_NS)
    module.launch("reside", *words, grid=_BLOCKS, block=1024, stream=stream)
    return int(blocks.count_nonzero().item())


def _said(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:_LONGEST_REASON]


def _all_at_once() -> list[Any]:
    """Each visible device in a process of its own; one that says nothing has a reason of ours."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        return [measure(0).to_mapping()]
    command = [sys.executable, "-m", "auditor.device.probe"]
    processes = [
        subprocess.Popen([*command, str(index)], stdout=subprocess.PIPE, text=True, env=os.environ)
        for index in range(count)
    ]
    answers: list[Any] = []
    for index, process in enumerate(processes):
        text, _ = process.communicate()
        try:
            answers.extend(json.loads(text))
        except ValueError:
            reason = f"the process that measured device {index} ended with code {process.returncode}"
            answers.append({"uuid": "", "seconds": "0", f"not_measured.{_ALL}": reason})
    return answers


def main(arguments: list[str]) -> int:
    """Print what was measured, as a JSON list."""
    answers = [measure(int(arguments[0])).to_mapping()] if arguments else _all_at_once()
    print(json.dumps(answers))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
