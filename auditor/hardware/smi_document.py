"""An XML document of `nvidia-smi`, read without trust: no entities, no document type of its own, only so much of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from auditor.errors import DocumentError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_BYTES = 16 * 2**20
_DEEPEST = 32
_MOST_ELEMENTS = 200_000
_LONGEST_TEXT = 200  # characters, as NVML's own answers are cut
_ROOT = "nvidia_smi_log"
_REMEDY = "Write the file with: nvidia-smi -q -x > machine.xml"
_BEGINS = re.compile(rb"<\?xml|<!DOCTYPE|<nvidia_smi_log")
_END = b"</nvidia_smi_log>"


@dataclass(slots=True)
class Element:
    """An element of the file and its place; ``text`` is what stands in it directly."""

    path: str
    line: int
    text: str = ""
    children: dict[str, list[Element]] = field(default_factory=dict)

    def find(self, path: str) -> Element | None:
        """The first element at a path such as ``pci/pci_device_id``."""
        found: Element | None = self
        for name in path.split("/"):
            found = next(iter(found.children.get(name, ())), None) if found else None
        return found


def load(path: Path) -> bytes:
    """The bytes of a file, of one that is too large a byte too many.

    Raises: DocumentError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}", remedy=_REMEDY) from error


def parse(content: bytes, file: str) -> Element:
    """The root element of a document; ``file`` stands for it in messages.

    Raises: DocumentError: not such a document, or too long; says where, what was expected and what to do.
    """
    if len(content) > LARGEST_BYTES:
        raise DocumentError(f"{file}: larger than {LARGEST_BYTES} bytes", remedy=_REMEDY)
    if _utf16(content[:2]) is None:
        return _Reader(file, expat.ParserCreate()).read(content)
    return _Reader(file, expat.ParserCreate("utf-8")).read(_as_utf8(content, file))


def clean(text: str) -> str:
    """A text that can be shown: nothing in it acts, and it is short."""
    return "".join(letter if letter.isprintable() else "?" for letter in text.strip())[:_LONGEST_TEXT]


def fail(file: str, element: Element, expected: str) -> NoReturn:
    """Raise that an element is not what was expected.

    Raises: DocumentError: always.
    """
    got = f", got {clean(element.text)!r}" if element.text.strip() else ""
    raise DocumentError(f"{file}:{element.line}: {element.path}: expected {expected}{got}", remedy=_REMEDY)


def _as_utf8(content: bytes, file: str) -> bytes:
    """What Windows' shell writes as UTF-16, as UTF-8."""
    encoding = _utf16(content[:2]) or "utf-8"
    try:
        text = content[: len(content) // 2 * 2].decode(encoding)  # a shell may end it with a single byte
        return text.lstrip("\ufeff").encode()
    except UnicodeError as error:
        raise DocumentError(f"{file}: not XML: not {encoding}", remedy=_REMEDY) from error


def _utf16(begin: bytes) -> str | None:
    """Which UTF-16 a text is that begins so, with its mark or with a letter that needs one byte."""
    if begin == b"\xff\xfe" or (begin[1:] == b"\0" and begin[:1] != b"\0"):
        return "utf-16-le"
    if begin == b"\xfe\xff" or (begin[:1] == b"\0" and begin[1:] not in (b"", b"\0")):
        return "utf-16-be"
    return None


def _document(content: bytes) -> tuple[bytes, int]:
    """The document without the warnings that the tool may print before and after it; how many lines went before."""
    begins = _BEGINS.search(content)
    begin = begins.start() if begins else max(content.find(b"<"), 0)
    end = content.rfind(_END)
    end = end + len(_END) if end >= 0 else content.rfind(b">") + 1
    return content[begin : max(begin, end)], content[:begin].count(b"\n")


class _Reader:
    """Builds the elements of one document, and refuses what such a file never holds."""

    def __init__(self, file: str, parser: expat.XMLParserType) -> None:
        self.file = file
        self.parser = parser
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._entity
        self.parser.SkippedEntityHandler = self._entity
        self.parser.buffer_text = True
        self.open: list[Element] = []
        self.root: Element | None = None
        self.elements = 0
        self.lines_before = 0

    def read(self, content: bytes) -> Element:
        """The root of the document."""
        document, self.lines_before = _document(content)
        try:
            self.parser.Parse(document, True)
        except expat.ExpatError as error:
            raise self._not_xml(expat.ErrorString(error.code)) from error
        except (ValueError, LookupError) as error:  # an encoding that the parser cannot read, or nobody knows
            raise self._not_xml(str(error)) from error
        if self.root is None or self.root.path != _ROOT:
            found = self.root.path if self.root else "nothing"
            raise DocumentError(f"{self.file}: expected the root element {_ROOT!r}, got {found!r}", remedy=_REMEDY)
        return self.root

    def _line(self) -> int:
        return self.parser.CurrentLineNumber + self.lines_before

    def _not_xml(self, why: str) -> DocumentError:
        line = self.parser.ErrorLineNumber + self.lines_before
        return DocumentError(f"{self.file}:{line}: not XML: {why}", remedy=_REMEDY)

    def _start(self, name: str, _: dict[str, str]) -> None:
        if len(self.open) >= _DEEPEST:
            self._refuse(f"at most {_DEEPEST} elements inside one another")
        self.elements += 1
        if self.elements > _MOST_ELEMENTS:
            self._refuse(f"at most {_MOST_ELEMENTS} elements")
        line = self._line()
        if not self.open:
            self.root = Element(name, line)
            self.open.append(self.root)
            return
        parent = self.open[-1]
        place = parent.path if parent.path != _ROOT else ""
        element = Element(f"{place}/{name}".lstrip("/"), line)
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
        place = f"{self.file}:{self._line()}"
        raise DocumentError(f"{place}: expected {expected}", remedy=_REMEDY)
