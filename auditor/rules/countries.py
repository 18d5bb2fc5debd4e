"""The codes of countries that rules and cases may name: ISO 3166-1 alpha-2."""

from __future__ import annotations

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
    """What to say of a code that is none. No other country is guessed: IRL is near to IR, and IR is Iran."""
    if code.upper() in CODES:
        return f"did you mean {code.upper()!r}?"
    return "a country is written as its ISO 3166-1 code of two letters, such as 'DE'"
