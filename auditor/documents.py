"""Documents people write (YAML) and we write (JSON), read strictly.

YAML is read with every scalar left as text: ``1e26``, ``NO`` and ``12:30:45`` mean what the schema says, not what
YAML guesses. Duplicate keys, aliases and tags are refused. Each value knows where it stands, so that an error can say.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import yaml

from auditor.errors import DocumentError, UnitError
from auditor.units import parse_exact

_LARGEST_DOCUMENT_BYTES = 16 * 2**20
_DEEPEST = 32
_REST_OF_A_NUMBER = re.compile("[0-9]{3}")


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document and its place: text, a list of nodes, a mapping of nodes, or None where nothing stands."""

    value: str | list[Node] | dict[str, Node] | None
    file: str
    line: int
    path: str
    error: type[DocumentError] = DocumentError

    def fail(self, expected: str, hint: str = "") -> NoReturn:
        """Raise the document's error for this place; ``hint`` ends it."""
        raise self.error(
            f"{self.file}:{self.line}: {self.path or 'document'}: expected {expected}, got {self._shown()}{hint}"
        )

    def _shown(self) -> str:
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        return "nothing" if self.value is None else repr(self.value)

    def text(self) -> str:
        """The text of a scalar."""
        if not isinstance(self.value, str):
            self.fail("text")
        return self.value

    def number(self) -> str:
        """The text of a scalar that writes an exact number, as it stands."""
        text = self.text()
        try:
            parse_exact(text)
        except UnitError:
            self.fail("a number")
        return text

    def flag(self) -> bool:
        """``true`` or ``false``, nothing else."""
        if self.value not in ("true", "false"):
            self.fail("true or false")
        return self.value == "true"

    def items(self) -> list[Node]:
        """The parts of a list."""
        if not isinstance(self.value, list):
            self.fail("a list")
        return self.value

    def fields(self, *, required: tuple[str, ...] = (), optional: tuple[str, ...] | None = None) -> dict[str, Node]:
        """The fields of a mapping, with none missing and, unless ``optional`` is None, none unknown."""
        if not isinstance(self.value, dict):
            self.fail("a mapping")
        for name in required:
            if name not in self.value:
                raise self.error(f"{self.file}:{self.line}: {self.path or 'document'}: the field {name!r} is missing")
        if optional is not None:
            for name, node in self.value.items():
                if name not in required and name not in optional:
                    node.unknown(name, (*required, *optional))
        return self.value

    def unknown(self, name: str, known: tuple[str, ...]) -> NoReturn:
        """Raise the error for a name that nobody knows, with the nearest known one."""
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(sorted(known))}"
        if _REST_OF_A_NUMBER.fullmatch(name):
            hint = "; a comma ends a value here: write numbers without thousands separators"
        raise self.error(f"{self.file}:{self.line}: {self.path or 'document'}: unknown name {name!r}{hint}")

    def __iter__(self) -> Iterator[Node]:
        return iter(self.items())


def read_yaml(path: Path, error: type[DocumentError] = DocumentError) -> Node:
    """The one document in a YAML file.

    Raises: ``error``: no such file, not YAML, not UTF-8, or with a construct that is refused.
    """
    try:
        if path.stat().st_size > _LARGEST_DOCUMENT_BYTES:
            raise error(f"{path}: larger than {_LARGEST_DOCUMENT_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: cannot be read: {problem}") from problem
    return parse_yaml(text, str(path), error)


def parse_yaml(text: str, name: str, error: type[DocumentError] = DocumentError) -> Node:
    """The one document in a YAML text; ``name`` stands for the file in messages.

    Raises: ``error``: not YAML, or with a construct that is refused.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        place = f":{mark.line + 1}" if mark else ""
        cause = getattr(problem, "problem", None) or str(problem)
        raise error(f"{name}{place}: not the YAML that is read here: {cause}") from problem
    if node is None:
        raise error(f"{name}: the document is empty")
    return _convert(node, name, "", error, 0)


class _Loader(yaml.SafeLoader):
    """Refuses aliases; resolves nothing."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not read", event.start_mark)
        return super().compose_node(parent, index)


def _convert(node: yaml.Node, file: str, path: str, error: type[DocumentError], depth: int) -> Node:
    line = node.start_mark.line + 1
    if depth > _DEEPEST:
        raise error(f"{file}:{line}: nested deeper than {_DEEPEST} levels")
    if isinstance(node, yaml.ScalarNode):
        if not node.tag.startswith("tag:yaml.org,2002:"):
            raise error(f"{file}:{line}: tags are not read: {node.tag}")
        empty = node.style is None and node.value in ("", "~", "null")
        return Node(None if empty else node.value, file, line, path, error)
    if isinstance(node, yaml.SequenceNode):
        parts = [_convert(part, file, f"{path}[{i}]", error, depth + 1) for i, part in enumerate(node.value)]
        return Node(parts, file, line, path, error)
    fields: dict[str, Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise error(f"{file}:{key.start_mark.line + 1}: a key must be text")
        if key.value in fields:
            raise error(f"{file}:{key.start_mark.line + 1}: the key {key.value!r} stands twice")
        fields[key.value] = _convert(value, file, f"{path}.{key.value}".lstrip("."), error, depth + 1)
    return Node(fields, file, line, path, error)
