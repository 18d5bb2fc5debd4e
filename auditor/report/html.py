"""Reports as one HTML file each: no script, nothing loaded from elsewhere, fit for paper and for the dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditor.report.layout import Block
    from auditor.report.view import View


def render(view: View) -> str:
    """The whole page; the same view gives the same bytes.

    Raises: MissingExtra: jinja2 is not installed.
    """
    from auditor.report import page  # noqa: PLC0415 - whoever wants no HTML needs no jinja2

    return page.render(view)


def draw(blocks: Iterable[Block]) -> str:
    """A page of blocks, in the same look.

    Raises: MissingExtra: jinja2 is not installed.
    """
    from auditor.report import page  # noqa: PLC0415 - whoever wants no HTML needs no jinja2

    return page.draw(blocks)
