"""Bytes that somebody gives as text -> text, or an error that names their encoding."""

from __future__ import annotations

from llmfail.core.errors import UsageError

_MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
"""How texts in these encodings begin when they say so."""
_SAMPLE_BYTES = 4096
_MANY_ZEROS = 0.25
"""The share of zero bytes from which on a text is UTF-16 without its mark."""


def decode_text(name: str, data: bytes) -> str:
    """UTF-8, without its mark and without the line ends at its end, whichever system they are of. Raises
    UsageError, which calls the text by this name, for another encoding and for what is no text.
    """
    mark = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)
    if mark is not None:
        raise UsageError(_advise(name, mark))
    try:
        text = data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UsageError(_describe_undecodable(name, data, error.start)) from error
    if "\0" in text:
        sample = data[:_SAMPLE_BYTES]
        if sample.count(0) >= _MANY_ZEROS * len(sample):
            raise UsageError(_advise(name, "UTF-16LE" if data[:1] != b"\0" else "UTF-16BE"))
        raise UsageError(f"{name} is no text: it has a NUL character, which no provider takes")
    return text


def _describe_undecodable(name: str, data: bytes, position: int) -> str:
    """Bytes that are letters in Latin-1 and Windows-1252 are most likely that, in a text without zeros."""
    byte = data[position]
    if 0 in data[:_SAMPLE_BYTES]:
        return f"{name} is no text (byte {position} is 0x{byte:02x})"
    if 0x80 <= byte <= 0x9F:
        return _advise(name, "WINDOWS-1252", f", as byte {position} (0x{byte:02x}) shows")
    return _advise(name, "ISO-8859-1", f", as byte {position} (0x{byte:02x}) shows")


def _advise(name: str, encoding: str, reason: str = "") -> str:
    doubt = "is" if not reason else "looks like"
    return f"{name} is not UTF-8; it {doubt} {encoding}{reason}: iconv -f {encoding} -t UTF-8 converts it"
