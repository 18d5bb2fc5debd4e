"""The codes of countries that rules and cases may name: ISO 3166-1 alpha-2."""

from __future__ import annotations

import difflib

# Second letters by the first. source: ISO 3166-1, the 249 codes that are assigned
_LETTERS = {
    "A": "DEFGILMOQRSTUWXZ",
    "B": "ABDEFGHIJLMNOQRSTVWYZ",
    "C": "ACDFGHIKLMNORUVWXYZ",
    "D": "EJKMOZ",
    "E": "CEGHRST",
    "F": "IJKMOR",
    "G": "ABDEFGHILMNPQRSTUWY",
    "H": "KMNRTU",
    "I": "DELMNOQRST",
    "J": "EMOP",
    "K": "EGHIMNPRWYZ",
    "L": "ABCIKRSTUVY",
    "M": "ACDEFGHKLMNOPQRSTUVWXYZ",
    "N": "ACEFGILOPRUZ",
    "O": "M",
    "P": "AEFGHKLMNRSTWY",
    "Q": "A",
    "R": "EOSUW",
    "S": "ABCDEGHIJKLMNORSTVXYZ",
    "T": "CDFGHJKLMNORTVWZ",
    "U": "AGMSYZ",
    "V": "ACEGINU",
    "W": "FS",
    "Y": "ET",
    "Z": "AMW",
}
CODES = frozenset(first + second for first, seconds in _LETTERS.items() for second in seconds)


def near(code: str) -> str:
    """What to say of a code that is none: the nearest one, or what a code looks like."""
    close = difflib.get_close_matches(code.upper(), sorted(CODES), n=1)
    return f"did you mean {close[0]!r}?" if close else "a country is written as its ISO 3166-1 code, such as 'DE'"
