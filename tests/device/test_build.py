"""The kernels compile for every architecture that they are meant for, with no device at hand and without spilling."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import types

import pytest
import torch

from auditor.device import build
from auditor.errors import DeviceError
from auditor.resources import tree

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120")
SOURCES = sorted(path.name for path in tree("kernels").glob("*.cu"))

pytest.importorskip("cuda.core", reason="cuda-core compiles the kernels")


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", SOURCES)
def test_it_compiles_by_nvrtc_and_no_kernel_spills(name, arch):
    compiled = build.compile_kernel(name, arch=arch)
    assert compiled.cubin.startswith(b"\x7fELF")
    assert len(compiled.usage) == build.source(name).count('extern "C" __global__')
    assert [usage for usage in compiled.usage if usage.spill_bytes] == []


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("name", SOURCES)
def test_it_compiles_by_nvcc_and_no_kernel_spills(name, tmp_path):
    """All architectures in one run, as a fat binary."""
    numbers = [arch.removeprefix("sm_") for arch in ARCHITECTURES]
    targets = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in numbers]
    command = ["nvcc", "-std=c++17", "-Werror=all-warnings", "-Xptxas=-v", "--threads=2", "-fatbin", *targets]
    made = subprocess.run(
        [*command, "-o", str(tmp_path / "out.fatbin"), str(tree("kernels") / name)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    usage = list(build.parse_usage(made.stdout + made.stderr))
    assert len(usage) == len(ARCHITECTURES) * build.source(name).count('extern "C" __global__')
    assert [each for each in usage if each.spill_bytes] == []


def test_a_source_that_does_not_compile_is_told_with_the_compilers_words(tmp_path, monkeypatch):
    (tmp_path / "broken.cu").write_text('extern "C" __global__ void broken() { nothing(); }\n')
    monkeypatch.setattr(build, "tree", lambda kind: tmp_path)
    with pytest.raises(DeviceError, match=r'kernels/broken.cu does not compile for sm_80: .*"nothing" is undefined'):
        build.compile_kernel("broken.cu", arch="sm_80")


def test_an_architecture_that_the_compiler_does_not_know_is_told():
    with pytest.raises(DeviceError, match=r"does not compile for sm_35: .*gpu-architecture"):
        build.compile_kernel(SOURCES[0], arch="sm_35")


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    with pytest.raises(DeviceError, match="cuda-core is not installed") as told:
        build.compile_kernel(SOURCES[0], arch="sm_80")
    assert told.value.remedy == "Install what compiles the kernels with: pip install 'auditor[cuda]'"


@pytest.mark.parametrize(
    ("capability", "arch"),
    [
        ((7, 5), "sm_75"),
        ((8, 0), "sm_80"),
        ((8, 9), "sm_89"),
        ((9, 0), "sm_90a"),
        ((10, 0), "sm_100a"),
        ((12, 0), "sm_120a"),
    ],
)
def test_the_architecture_of_a_device(capability, arch):
    assert build.arch_of(capability) == arch


def test_spills_are_read_from_the_compilers_report():
    log = (
        "ptxas info    : 0 bytes gmem\n"
        "ptxas info    : Compiling entry function 'first' for 'sm_80'\nptxas info    : Function properties for first\n"
        "    16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n"
        "ptxas info    : Used 255 registers, 352 bytes cmem[0]\n"
        "ptxas info    : Compiling entry function 'second' for 'sm_80'\n"
        "ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
        "ptxas info    : Used 8 registers, used 0 barriers\n"
    )
    assert list(build.parse_usage(log)) == [build.Usage("first", 255, 16, 20), build.Usage("second", 8, 0, 0)]


class Core:
    """What is used of cuda-core, on a machine without a driver."""

    def __init__(self) -> None:
        self.launched: list[tuple] = []
        self.current: list[int] = []
        self.Stream = types.SimpleNamespace(from_handle=lambda handle: ("stream", handle))
        self.ObjectCode = types.SimpleNamespace(from_cubin=self._load)

    def Device(self, ordinal):  # noqa: N802 - its name there
        return types.SimpleNamespace(set_current=lambda: self.current.append(ordinal))

    def LaunchConfig(self, **config):  # noqa: N802
        return config

    def _load(self, cubin, name):
        return types.SimpleNamespace(get_kernel=lambda kernel: (cubin, kernel))

    def launch(self, *what):
        self.launched.append(what)


@pytest.fixture
def core(monkeypatch):
    core = Core()
    monkeypatch.setattr(build, "_cuda_core", lambda: core)
    monkeypatch.setattr(torch.cuda, "device", lambda ordinal: contextlib.nullcontext())
    return core


COMPILED = build.Compiled(
    "some.cu",
    "sm_90a",
    b"code",
    "Compiling entry function 'add' for 'sm_90a'\n0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
    "Used 8 registers\n",
)


def test_a_kernel_is_launched_on_the_stream_with_its_arguments(core):
    module = build.Module(COMPILED, 3)
    module.launch("add", 4096, -1, grid=2, block=64, stream=77)
    module.launch("add", 1, grid=1, block=32, stream=0, shared_bytes=16)  # torch's default stream
    assert core.launched == [
        (("stream", 77), {"grid": 2, "block": 64, "shmem_size": 0}, (b"code", "add"), 4096, -1),
        (("stream", 1), {"grid": 1, "block": 32, "shmem_size": 16}, (b"code", "add"), 1),
    ]
    assert core.current == [3, 3]  # once to load, and once for this thread


def test_what_the_driver_refuses_is_told_with_what_to_do(core):
    def refuse(*_):
        raise RuntimeError("CUDA_ERROR_INVALID_IMAGE")

    module = build.Module(COMPILED, 0)
    core.launch = refuse
    with pytest.raises(DeviceError, match="add cannot be run on device 0: CUDA_ERROR_INVALID_IMAGE"):
        module.launch("add", grid=1, block=1, stream=0)
    with pytest.raises(DeviceError, match="nothing cannot be run on device 0: 'nothing'"):
        module.launch("nothing", grid=1, block=1, stream=0)
    core.ObjectCode.from_cubin = lambda cubin, name: refuse()
    with pytest.raises(DeviceError, match=r"some\.cu cannot be loaded on device 0") as told:
        build.Module(COMPILED, 0)
    assert "Update the driver" in told.value.remedy
