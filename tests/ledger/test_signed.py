"""Signed heads as others write them: what is taken, what is refused, and that the two never mix."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.errors import NoteError
from auditor.ledger.keys import verify
from auditor.ledger.notes import Signer
from auditor.ledger.signed import read_head, read_heads, read_signatures, read_text

# The examples of c2sp.org/signed-note and c2sp.org/tlog-cosignature.
EXAMPLE_KEY = base64.b64decode("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
EXAMPLE_SIGNATURE = (
    "\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3"
    "mFXmRKuwHjG1Yu72IneyaQM="
)
EXAMPLE_HEAD = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501


def test_the_published_signature_holds_under_the_published_key():
    (part,) = read_signatures(EXAMPLE_SIGNATURE)
    signer = Signer("example.com/foo", EXAMPLE_KEY[1:].hex())
    assert signer.key_id.hex() == "530d903a" == part.key_id.hex()
    assert verify(signer.public_hex, part.data, b"This is an example message.\n")


def test_the_published_head_is_read_as_it_is_written():
    head = read_head(EXAMPLE_HEAD)
    assert head.origin == "example.com/behind-the-sofa"
    assert head.head == (20852163, "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    assert [part.name for part in head.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    # The cosignature begins with its time, which the specification gives as 1679315147.
    assert int.from_bytes(head.signatures[1].data[:8]) == 1679315147
    assert head.note == EXAMPLE_HEAD


def test_several_heads_in_one_file_and_further_lines_of_a_log():
    longer = EXAMPLE_HEAD.replace("q2I=\n", "q2I=\nan extension\n")
    heads = read_heads(f"{EXAMPLE_HEAD}\n{longer}")
    assert [head.note for head in heads] == [EXAMPLE_HEAD, longer]
    assert heads[1].text.endswith("an extension\n")
    with pytest.raises(NoteError, match="got 2"):
        read_head(f"{EXAMPLE_HEAD}\n{EXAMPLE_HEAD}")


def test_sixteen_signatures_are_taken_and_a_thousand_are_not():
    line = EXAMPLE_HEAD.splitlines(keepends=True)[-1]
    assert len(read_head(EXAMPLE_HEAD + line * 14).signatures) == 16
    with pytest.raises(NoteError, match="more than"):
        read_head(EXAMPLE_HEAD + line * 1000)


WRONG = {
    "no end": EXAMPLE_HEAD[:-1],
    "no empty line": EXAMPLE_HEAD.replace("\n\n", "\n"),
    "a carriage return": EXAMPLE_HEAD.replace("20852163\n", "20852163\r\n"),
    "a size with a zero before it": EXAMPLE_HEAD.replace("20852163", "020852163"),
    "a size below 0": EXAMPLE_HEAD.replace("20852163", "-1"),
    "a size in other digits": EXAMPLE_HEAD.replace("20852163", "\u0663"),
    "a size above all": EXAMPLE_HEAD.replace("20852163", "9" * 30),
    "a root that is cut": EXAMPLE_HEAD.replace("CsUYapGG", ""),
    "a root in two ways": EXAMPLE_HEAD.replace("q2I=", "q2J="),
    "a control character": EXAMPLE_HEAD.replace("behind", "be\x07hind"),
    "no origin": EXAMPLE_HEAD.replace("example.com/behind-the-sofa\n2", "\n2"),
    "another dash": EXAMPLE_HEAD.replace("\u2014 witness", "- witness"),
    "a name with a plus": EXAMPLE_HEAD.replace("\u2014 witness", "\u2014 wit+ness"),
    "no base64": EXAMPLE_HEAD.replace("jWbPPwAA", "jWb-PwAA"),
    "a signature of nothing": EXAMPLE_HEAD[: EXAMPLE_HEAD.index("\u2014 witness")] + "\u2014 w AAAAAA==\n",
    "nothing": "",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_signed_head_is_refused(name):
    with pytest.raises(NoteError) as caught:
        read_heads(WRONG[name])
    assert caught.value.remedy


@given(at=st.integers(0, len(EXAMPLE_HEAD)), cut=st.integers(0, 30), more=st.text(max_size=10))
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_head_that_is_written_like_it_or_refused(at, cut, more):
    text = EXAMPLE_HEAD[:at] + more + EXAMPLE_HEAD[at + cut :]
    with contextlib.suppress(NoteError):
        heads = read_heads(text)
        assert "\n".join(head.note for head in heads) == text


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "noise").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_bytes(b"x" * 2000)
    for name in ("noise", "long", "nowhere", "."):
        with pytest.raises(NoteError, match="cannot be read"):
            read_text(tmp_path / name, 1000)
