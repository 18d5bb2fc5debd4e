"""What `nvidia-smi -q -x` wrote of another machine's devices, as the identities that NVML gives of this one's.

The file comes from elsewhere: it is read without entities, without a document type of its own, and only up to a size
and depth. What the tool could not say ("N/A", "ERR!") is kept as a reason, as it is for a device asked directly.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from auditor.errors import DocumentError
from auditor.hardware.identity import GPU, Device

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_BYTES = 16 * 2**20
_DEEPEST = 32
_MOST_ELEMENTS = 200_000
_LONGEST_TEXT = 200  # characters, as NVML's own answers are cut
_ROOT = "nvidia_smi_log"
_REMEDY = "Write the file with: nvidia-smi -q -x > machine.xml"
_UNSAID = re.compile(r"\[?(N/A|Not Supported|Unknown Error|ERR!|GPU is lost|Insufficient Permissions)\]?|")
_VIRTUALIZATION = {
    "None": "none",
    "Pass-Through": "passthrough",
    "VGPU": "vgpu",
    "Host VGPU": "host vgpu",
    "Host VSGA": "host vsga",
}


@dataclass(slots=True)
class _Element:
    """An element of the file and its place; ``text`` is what stands in it directly."""

    path: str
    line: int
    text: str = ""
    children: dict[str, list[_Element]] = field(default_factory=dict)

    def find(self, path: str) -> _Element | None:
        """The first element at a path such as ``pci/pci_device_id``."""
        found: _Element | None = self
        for name in path.split("/"):
            found = next(iter(found.children.get(name, ())), None) if found else None
        return found


def read(path: Path) -> tuple[Device, ...]:
    """The devices that a file of `nvidia-smi -q -x` names, in its order.

    Raises: DocumentError: not such a file; says where, what was expected and what to do.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}", remedy=_REMEDY) from error
    return parse(content, str(path))


def parse(content: bytes, file: str) -> tuple[Device, ...]:
    """The devices that the bytes of such a file name; ``file`` stands for it in messages.

    Raises: DocumentError: not such a file, or too long.
    """
    if len(content) > LARGEST_BYTES:
        raise DocumentError(f"{file}: larger than {LARGEST_BYTES} bytes", remedy=_REMEDY)
    root = _Reader(file).read(_without_remarks(content))
    gpus = root.children.get("gpu", [])
    if not gpus:
        _fail(file, root, "at least one element 'gpu'")
    common = _said(file, root, _OF_ALL)
    return tuple(_device(file, gpu, common) for gpu in gpus)


def _without_remarks(content: bytes) -> bytes:
    """The document without the lines of warning that the tool may print before and after it."""
    begin, end = content.find(b"<"), content.rfind(b">")
    lines = content[: max(begin, 0)].count(b"\n")
    return (
        b"" if begin < 0 else b"\n" * (0 if content[begin : begin + 2] == b"<?" else lines) + content[begin : end + 1]
    )


class _Reader:
    """Builds the elements of one document, and refuses what such a file never holds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._entity
        self.parser.SkippedEntityHandler = self._entity
        self.parser.buffer_text = True
        self.open: list[_Element] = []
        self.root: _Element | None = None
        self.elements = 0

    def read(self, content: bytes) -> _Element:
        """The root of the document."""
        try:
            self.parser.Parse(content, True)
        except expat.ExpatError as error:
            message = expat.ErrorString(error.code)
            raise DocumentError(f"{self.file}:{error.lineno}: not XML: {message}", remedy=_REMEDY) from error
        if self.root is None or self.root.path != _ROOT:
            found = self.root.path if self.root else "nothing"
            raise DocumentError(f"{self.file}: expected the root element {_ROOT!r}, got {found!r}", remedy=_REMEDY)
        return self.root

    def _start(self, name: str, _: dict[str, str]) -> None:
        if len(self.open) >= _DEEPEST:
            self._refuse(f"at most {_DEEPEST} elements inside one another")
        self.elements += 1
        if self.elements > _MOST_ELEMENTS:
            self._refuse(f"at most {_MOST_ELEMENTS} elements")
        line = self.parser.CurrentLineNumber
        if not self.open:
            self.root = _Element(name, line)
            self.open.append(self.root)
            return
        parent = self.open[-1]
        place = parent.path if parent.path != _ROOT else ""
        element = _Element(f"{place}/{name}".lstrip("/"), line)
        parent.children.setdefault(name, []).append(element)
        self.open.append(element)

    def _end(self, _: str) -> None:
        self.open.pop()

    def _characters(self, text: str) -> None:
        if self.open and len(self.open[-1].text) <= _LONGEST_TEXT:  # what follows could be megabytes
            self.open[-1].text += text

    def _doctype(self, name: str, _system: str | None, _public: str | None, internal: int) -> None:
        if internal or name != _ROOT:
            self._refuse(f"a document type {_ROOT!r} without declarations of its own")

    def _entity(self, *_: object) -> None:
        self._refuse("no entities")

    def _refuse(self, expected: str) -> NoReturn:
        place = f"{self.file}:{self.parser.CurrentLineNumber}"
        raise DocumentError(f"{place}: expected {expected}", remedy=_REMEDY)


def _device(file: str, gpu: _Element, common: tuple[dict[str, str], dict[str, str]]) -> Device:
    given, not_given = _said(file, gpu, _OF_A_DEVICE)
    return Device(kind=GPU, given={**common[0], **given}, not_given={**common[1], **not_given})


def _said(file: str, element: _Element, asked: dict[str, _Asked]) -> tuple[dict[str, str], dict[str, str]]:
    given: dict[str, str] = {}
    not_given: dict[str, str] = {}
    for name, (path, read_one) in asked.items():
        found = element.find(path)
        text = _clean(found.text) if found else ""
        if found is None:
            not_given[name] = f"the file has no {path}"
        elif _UNSAID.fullmatch(text):
            not_given[name] = f"nvidia-smi says {text!r}"
        else:
            given[name] = read_one(file, found, text)
    return given, not_given


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text.strip())[:_LONGEST_TEXT]


def _fail(file: str, element: _Element, expected: str) -> NoReturn:
    got = f", got {_clean(element.text)!r}" if element.text.strip() else ""
    raise DocumentError(f"{file}:{element.line}: {element.path}: expected {expected}{got}", remedy=_REMEDY)


def _text(_file: str, _element: _Element, text: str) -> str:
    return text


def _pci(file: str, element: _Element, text: str) -> str:
    """233510DE is device 2335 of vendor 10de: "10de:2335"."""
    digits = text.lower().removeprefix("0x")
    if not re.fullmatch(r"[0-9a-f]{8}", digits):
        _fail(file, element, "eight hexadecimal digits, such as 233510DE")
    return f"{digits[4:]}:{digits[:4]}"


def _megahertz(file: str, element: _Element, text: str) -> str:
    return str(_number(file, element, text, "MHz"))


def _mebibytes(file: str, element: _Element, text: str) -> str:
    return str(_number(file, element, text, "MiB") * 2**20)


def _number(file: str, element: _Element, text: str, unit: str) -> int:
    found = re.fullmatch(rf"([0-9]{{1,9}}) {unit}", text)
    if not found:
        _fail(file, element, f"a whole number of {unit}, such as '1980 {unit}'")
    return int(found[1])


def _mig(file: str, element: _Element, text: str) -> str:
    if text not in ("Enabled", "Disabled"):
        _fail(file, element, "'Enabled' or 'Disabled'")
    return text.lower()


def _virtualization(file: str, element: _Element, text: str) -> str:
    if text not in _VIRTUALIZATION:
        _fail(file, element, f"one of {', '.join(_VIRTUALIZATION)}")
    return _VIRTUALIZATION[text]


_Asked = tuple[str, Callable[[str, _Element, str], str]]

_OF_ALL: dict[str, _Asked] = {
    "driver": ("driver_version", _text),
    "cuda_driver": ("cuda_version", _text),
}
_OF_A_DEVICE: dict[str, _Asked] = {
    "name": ("product_name", _text),
    "uuid": ("uuid", _text),
    "serial": ("serial", _text),
    "board_part_number": ("board_part_number", _text),
    "gpu_part_number": ("gpu_part_number", _text),
    "pci_device_id": ("pci/pci_device_id", _pci),
    "pci_subsystem_id": ("pci/pci_sub_system_id", _pci),
    "pci_bus_id": ("pci/pci_bus_id", _text),
    "vbios": ("vbios_version", _text),
    "inforom": ("inforom_version/img_version", _text),
    "architecture": ("product_architecture", _text),
    "max_sm_clock_mhz": ("max_clocks/sm_clock", _megahertz),
    "max_memory_clock_mhz": ("max_clocks/mem_clock", _megahertz),
    "memory_bytes": ("fb_memory_usage/total", _mebibytes),
    "mig_mode": ("mig_mode/current_mig", _mig),
    "virtualization_mode": ("gpu_virtualization_mode/virtualization_mode", _virtualization),
}
