"""The ways in which HTML, URLs, JSON, programs and mail write a character of a key.

Only the characters of the key in question are known, so that other escapes cost nothing. Everything is in
lower case.
"""

from __future__ import annotations

import re

UNFINISHED_ESCAPE = re.compile(
    rb"(?:[%=](?:25?)*[0-9a-f]?|&[#0-9a-z]{0,9}|\\+(?:u[{0-9a-f]{0,6}|x[0-9a-f]?)?|\\*\r)\Z", re.IGNORECASE
)
"""The end of a text that may be the beginning of an escape."""
_ENTITIES = {
    "amp": "&",
    "apos": "'",
    "ast": "*",
    "colon": ":",
    "comma": ",",
    "dollar": "$",
    "equals": "=",
    "excl": "!",
    "gt": ">",
    "hyphen": "-",
    "lowbar": "_",
    "lt": "<",
    "num": "#",
    "percnt": "%",
    "period": ".",
    "plus": "+",
    "quot": '"',
    "semi": ";",
    "sol": "/",
}


def build_escape_pattern(key: str) -> re.Pattern[bytes]:
    """Matches an escape of any character of the key, in either case, or a line break."""
    characters = {each for letter in key for each in (letter, letter.lower(), letter.upper())}
    codes = sorted({ord(each) for letter in characters for each in letter})
    octets = sorted({octet for code in codes for octet in chr(code).encode("utf-8", "surrogatepass")})
    decimal = "|".join(map(str, codes))
    hexadecimal = "|".join(f"{code:x}" for code in codes)
    four = "|".join(f"{code:04x}" for code in codes)
    two = "|".join(f"{octet:02x}" for octet in octets)
    names = "|".join(name for name, letter in _ENTITIES.items() if letter in characters) or "(?!)"
    signs = re.escape("".join(sorted(each for each in set(key) if each.isascii() and not each.isalnum())))
    # Each alternative begins with one certain character, so that the text between is passed over quickly.
    pattern = (
        rf"%(?:25){{0,3}}(?P<percent>{two})"
        rf"|=(?P<equals>{two})"
        rf"|&#0{{0,6}}(?P<decimal>{decimal})(?![0-9]);?"
        rf"|&#x0{{0,6}}(?P<hexadecimal>{hexadecimal})(?![0-9a-f]);?"
        rf"|&(?P<name>{names});"
        rf"|\\\\{{0,7}}u(?:(?P<four>{four})|\{{0{{0,6}}(?P<braced>{hexadecimal})\}})"
        rf"|\\\\{{0,7}}x(?P<two>{two})"
        + (rf"|\\\\{{0,7}}(?P<sign>[{signs}])" if signs else "")
        + r"|\n(?<=\S\n)(?=\S\S)|\r\n(?<=\S\r\n)(?=\S\S)|\\\\{0,7}r\\{1,8}n|\\\\{0,7}n"
    )
    return re.compile(pattern.encode("utf-8", "surrogatepass"))


def undo_escape(found: re.Match[bytes]) -> bytes:
    """The character that an escape stands for, in lower case; nothing for a line break."""
    kind, text = found.lastgroup, found[found.lastgroup or 0]
    match kind:
        case "percent" | "equals" | "two":
            return bytes((int(text, 16),)).lower()
        case "decimal":
            return _encode(int(text))
        case "hexadecimal" | "four" | "braced":
            return _encode(int(text, 16))
        case "name":
            return _ENTITIES[text.decode()].encode()
        case "sign":
            return text
        case _:
            return b""


def _encode(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogatepass").lower()
