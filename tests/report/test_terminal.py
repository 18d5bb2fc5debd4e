from __future__ import annotations

import dataclasses
import io
import os
import pty
import re
import threading
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.report import plain
from auditor.report.layout import Heading, Paragraph, Table
from auditor.report.terminal import render, show
from auditor.rules import pack
from auditor.tally import Phase, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditor.report.view import View

GOLDEN = Path(__file__).resolve().parent / "golden.txt"


def test_the_page_is_word_for_word_what_was_agreed(
    make_view: Callable[..., View], steady: Callable[[View], View], opinion: Callable[..., Any]
) -> None:
    text = render(steady(make_view(opinions=(opinion(),))))
    if "AUDITOR_NEW_GOLDEN" in os.environ:
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_it_says_once_that_it_is_no_legal_advice(make_view: Callable[..., View]) -> None:
    assert " ".join(render(make_view()).split()).count("not legal advice") == 1


def test_a_floor_is_called_a_floor(make_view: Callable[..., View], tally_of: Callable[..., Tally]) -> None:
    unknown = tally_of({("2x3x4", Phase.FORWARD): 5}, op="mylib::unheard_of")
    text = render(make_view(intervals=((1, unknown, 1),), ranks=2))
    words = " ".join(text.split())
    assert "at least 0 operations counted" in words
    assert "1 operator without a formula (mylib::unheard_of)" in words
    assert "1 of 2 ranks are in the record" in words
    assert "mylib::unheard_of 5" in words


def test_a_false_record_is_the_first_thing_said(tmp_path: Path, make_view: Callable[..., View]) -> None:
    view = make_view()
    false = dataclasses.replace(view, ledger=dataclasses.replace(view.ledger, verdict="INVALID"))
    assert "DO NOT RELY ON THESE NUMBERS" in render(false).splitlines()[3]
    assert "DO NOT RELY" not in render(view)


def test_the_diffusion_rule_is_told_with_its_dates(make_view: Callable[..., View]) -> None:
    words = " ".join(render(make_view(law=pack.load())).split())
    assert "Announced on 2025-05-13 as not to be enforced" in words
    assert "Codified, not enforced since 2025-05-13." in words
    assert "2025-05-13: codified, not enforced. Announced" in words
    assert "2025-01-13: in force." in words


def test_hostile_text_shows_and_does_not_act(
    make_view: Callable[..., View], hostile: str, opinion: Callable[..., Any]
) -> None:
    view = make_view(
        model=hostile,
        command=("python", hostile, "A" * 100_000),
        devices=({"kind": "gpu", "name": hostile},),
        gaps=(("formula", hostile * 50, True),),
        opinions=(opinion(counter=hostile, unavailable=hostile),),
    )
    text = render(view)
    acting = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}} - {"\n"}
    assert acting == set()
    assert "<script>alert('x')</script>" in text
    assert "[bold]b[/bold]" in text
    assert len(text) < 20_000
    assert "more characters)" in text


def test_no_line_is_wider_than_the_page(make_view: Callable[..., View], hostile: str) -> None:
    view = make_view(
        model="模型" * 60, gaps=(("formula", "語" * 300, True),), devices=({"kind": "gpu", "name": hostile},)
    )
    assert max(map(plain.columns_of, render(view).splitlines())) <= 100


def test_the_shipped_law_fits_the_page(make_view: Callable[..., View]) -> None:
    text = render(make_view(law=pack.load()))
    assert max(map(plain.columns_of, text.splitlines())) <= 100


def test_a_pipe_gets_plain_text(make_view: Callable[..., View]) -> None:
    view, stream = make_view(), io.StringIO()
    show(view, stream)
    assert stream.getvalue() == render(view)


def test_a_stream_that_cannot_write_every_letter_gets_a_report_all_the_same(
    make_view: Callable[..., View],
) -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as stream:
        show(make_view(model="modèle", ranks=2), stream)
        stream.flush()
        assert b"mod?le" in raw.getvalue()


def test_a_terminal_gets_colours_and_the_same_words(make_view: Callable[..., View], hostile: str) -> None:
    pytest.importorskip("rich")
    shown = _on_a_terminal(make_view(model=f"{hostile} tail"))
    assert "\x1b[" in shown
    assert "[bold]b[/bold]" in shown
    assert "\x1b]0;t" not in shown
    words = " ".join(re.sub("\x1b\\[[0-9;]*m", " ", shown).split())
    for word in ("Thresholds", "Nowhere Weights Act", "UNANCHORED", "not legal advice", "not judged"):
        assert word in words


def _on_a_terminal(view: View) -> str:
    leader, follower = pty.openpty()
    with (
        os.fdopen(leader, "rb", buffering=0) as reading,
        os.fdopen(follower, "w", encoding="utf-8") as stream,
    ):
        chunks: list[bytes] = []
        reader = threading.Thread(target=lambda: _drain(reading.fileno(), chunks))
        reader.start()
        show(view, stream)
        stream.write("\nEND\n")
        stream.flush()
        reader.join(timeout=20)
    return b"".join(chunks).decode()


def _drain(descriptor: int, chunks: list[bytes]) -> None:
    while not chunks or b"\nEND" not in b"".join(chunks[-2:]).replace(b"\r", b""):
        chunks.append(os.read(descriptor, 65536))


cells = st.text(max_size=60)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=4), st.integers(60, 120))
def test_any_table_stays_within_its_width(rows: list[tuple[str, str, str]], width: int) -> None:
    block = Table(("a", "b", "c"), tuple(rows), right=frozenset({2}), flexible=1)
    text = plain.draw([Heading("h"), Paragraph(rows[0][0]), block], width)
    assert all(plain.columns_of(line) <= max(width, 2 * 40 + 16 + 4) for line in text.splitlines())
    assert not {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}} - {"\n"}
