"""A replay of amdsmi: the form of its answers is that of the library itself, the values are an MI300X's."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

# Source: the form, amdsmi 7.0.2's interface; ids, compute units, 192 GB and bus width, pci.ids and AMD's sheet;
# 196,592 MiB, a print of amd-smi in a public repository. Serial, UUID and energy stand for those of any device.
MI300X: dict[str, Any] = {
    "asic_info": {
        "market_name": "AMD Instinct MI300X",
        "vendor_id": "0x1002",
        "vendor_name": "Advanced Micro Devices Inc. [AMD/ATI]",
        "subvendor_id": "0x1002",
        "device_id": "0x74a1",
        "rev_id": "0x00",
        "asic_serial": "0x0123456789ABCDEF",
        "oam_id": 3,
        "num_compute_units": 304,
        "target_graphics_version": "gfx942",
        "subsystem_id": "0x74a1",
    },
    "board_info": {"model_number": "102-G30211-00", "product_serial": "N/A", "fru_id": "N/A"},
    "vbios_info": {"name": "AMD MI300X", "version": "022.040.003.041.000001"},
    "device_uuid": "54ff74a1-0000-1000-8012-3456789abcde",
    "device_bdf": "0000:c1:00.0",
    "vram_info": {"vram_type": 7, "vram_size": 196592, "vram_bit_width": 8192},
    "driver_info": {"driver_version": "6.10.5"},
    "compute_partition": "SPX",
    "memory_partition": "NPS1",
    "virtualization_mode": {"mode": SimpleNamespace(name="BAREMETAL")},
    "energy_count": {"energy_accumulator": 1_000_000, "counter_resolution": 15.259, "timestamp": 1},
    "total_ecc_count": {"correctable_count": 0, "uncorrectable_count": 0, "deferred_count": 0},
    "clocks": {"GFX": 2100, "MEM": 1300},
}


class AmdSmiLibraryException(Exception):
    """Stands for the library's own."""


@dataclass
class FakeAmdsmi:
    """The functions of `amdsmi` that are used, over recorded answers; an absent answer fails."""

    recorded: list[dict[str, Any]]
    init_error: str = ""
    open_sessions: int = 0
    AmdSmiClkType: Any = field(default_factory=lambda: SimpleNamespace(GFX="GFX", MEM="MEM"))

    def amdsmi_init(self) -> None:
        if self.init_error:
            raise AmdSmiLibraryException(self.init_error)
        self.open_sessions += 1

    def amdsmi_shut_down(self) -> None:
        self.open_sessions -= 1

    def amdsmi_get_processor_handles(self) -> list[dict[str, Any]]:
        return list(self.recorded)

    def amdsmi_get_clock_info(self, handle: dict[str, Any], kind: str) -> dict[str, Any]:
        return {"clk": 132, "min_clk": 132, "max_clk": handle["clocks"][kind], "clk_locked": False}

    def __getattr__(self, name: str) -> Any:
        for prefix in ("amdsmi_get_gpu_", "amdsmi_get_"):
            if name.startswith(prefix):
                return lambda handle: handle[name.removeprefix(prefix)]
        raise AttributeError(name)
