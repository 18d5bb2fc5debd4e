"""Where the files that travel with the code are: in a wheel as in a checkout."""

from __future__ import annotations

from pathlib import Path

from auditor.errors import ResourceError

_PACKAGE = Path(__file__).resolve().parent


def tree(kind: str) -> Path:
    """The directory ``configs`` or ``kernels``: the wheel's copy, else the checkout's.

    Raises: ResourceError: the installation has neither.
    """
    packaged = _PACKAGE / f"_{kind}"
    checkout = _PACKAGE.parent / kind
    if packaged.is_dir():
        return packaged
    if (_PACKAGE.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    raise ResourceError(f"the auditor was installed without its {kind}/ files")
