"""Puts wrappers around functions of modules, now or when they are imported, and takes them off again."""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple


class Patch(NamedTuple):
    """``wrap`` takes what stands at ``path`` (``Class.method``, ``function``) of a module, and returns what shall.

    optional: other versions of the module may lack it, and others may wrap it as well: what they put there stays.
    """

    module: str
    path: str
    wrap: Callable[[Any], Any]
    optional: bool = False


class Patches:
    """Patches that hold from `install` to `remove`; nothing is imported for their sake."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = tuple(patches)
        self._undo: list[Callable[[], None]] = []
        self._finder = _ImportWatcher({patch.module for patch in patches}, self._apply)

    def install(self) -> None:
        """Wrap what has been imported, and the rest as soon as it is."""
        sys.meta_path.insert(0, self._finder)
        for name in {patch.module for patch in self._patches} & sys.modules.keys():
            self._apply(sys.modules[name])

    def remove(self) -> None:
        """Everything stands as before."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        while self._undo:
            self._undo.pop()()

    def _apply(self, module: ModuleType) -> None:
        for patch in self._patches:
            if patch.module == module.__name__ and self._finder in sys.meta_path:
                self._wrap(module, patch)

    def _wrap(self, module: ModuleType, patch: Patch) -> None:
        *parents, name = patch.path.split(".")
        owner: Any = module
        for parent in parents:
            owner = getattr(owner, parent)
        if patch.optional and name not in vars(owner):
            return
        original = vars(owner)[name]
        if isinstance(original, (staticmethod, classmethod)):
            setattr(owner, name, type(original)(patch.wrap(original.__func__)))
        else:
            setattr(owner, name, patch.wrap(original))
        self._undo.append(functools.partial(_restore, owner, name, vars(owner)[name], original, patch.optional))


def _restore(owner: Any, name: str, ours: Any, original: Any, shared: bool) -> None:
    """The original stands there again, unless somebody has put something over ours and may do so."""
    if not shared or vars(owner).get(name) is ours:
        setattr(owner, name, original)


class _ImportWatcher(MetaPathFinder):
    """Finds nothing itself, and tells when one of the modules has been imported."""

    def __init__(self, names: set[str], imported: Callable[[ModuleType], None]) -> None:
        self._names = names
        self._imported = imported

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        self._names = self._names - {fullname}  # look for it without finding this one again
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._names = self._names | {fullname}
        if spec is not None and spec.loader is not None:
            self._tell_after(spec.loader)
        return spec

    def _tell_after(self, loader: Any) -> None:
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            load(module)
            self._imported(module)

        loader.exec_module = exec_module
