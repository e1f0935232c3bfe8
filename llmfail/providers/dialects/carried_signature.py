"""A signature on its way through a program whose dialect has no place for it, as a text that only we read.

It stands where the dialect has an opaque text (the signature of a thought, encrypted content), or at the end
of the id of a call, which every program gives back. Nothing is remembered here, so any process can read it.
What does not begin as ours does is never read.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Final

import msgspec
from msgspec import Struct

from llmfail.core.conversation import Signature
from llmfail.providers.decoding import read_base64

PREFIX: Final = "llmfail1."
"""Nine characters, so that their base64 is the same whatever follows."""
PREFIX_IN_BASE64: Final = "bGxtZmFpbDEu"
MAX_CARRIED_CHARS: Final = 16 << 10
"""Of one that goes along in an id. A longer one is left out: its vendor then thinks anew."""
_MAX_READ_CHARS: Final = 4 << 20
_MARK: Final = f"~{PREFIX}"


class CarriedSignature(Struct, frozen=True, array_like=True):
    """``vendor`` is empty where the model signed nothing, but must not be taken for another. ``of`` says what
    was signed, where that is not the thing itself: the id of a call, or a thought.
    """

    vendor: str
    text: str
    of: str = ""

    @property
    def signature(self) -> Signature | None:
        return Signature(self.vendor, self.text) if self.vendor else None


_DECODER: Final = msgspec.json.Decoder(CarriedSignature)


def carry(signature: Signature | None, of: str = "") -> str:
    vendor, text = ("", "") if signature is None else (signature.vendor, signature.text)
    packed = msgspec.json.encode(CarriedSignature(vendor, text, of))
    return PREFIX + urlsafe_b64encode(packed).decode("ascii").rstrip("=")


def read_carried(text: object) -> CarriedSignature | None:
    """None for a text that is not ours, or that was damaged."""
    if not isinstance(text, str) or not text.startswith(PREFIX) or len(text) > _MAX_READ_CHARS:
        return None
    packed = read_base64(text.removeprefix(PREFIX))
    try:
        return None if packed is None else _DECODER.decode(packed)
    except (ValueError, RecursionError):
        return None


def is_carried(text: object) -> bool:
    """Whether a text is ours, be it damaged or not."""
    return isinstance(text, str) and text.startswith(PREFIX)


def put_into_id(call_id: str, signature: Signature | None) -> str:
    if signature is None or not signature.text or len(signature.text) > MAX_CARRIED_CHARS:
        return call_id
    return f"{call_id}~{carry(signature)}"


def take_from_id(call_id: str) -> tuple[str, Signature | None]:
    """The id as it was, and what it carried."""
    own, mark, _ = call_id.partition(_MARK)
    if not mark:
        return call_id, None
    found = read_carried(call_id[len(own) + 1 :])
    return own, None if found is None else found.signature


def to_base64(carried: str) -> str:
    """For a dialect whose signatures are bytes."""
    return urlsafe_b64encode(carried.encode("ascii")).decode("ascii")


def from_base64(text: str) -> str:
    """A signature of such a dialect: what we wrote, else as it is."""
    if not text.startswith(PREFIX_IN_BASE64):
        return text
    data = read_base64(text)
    return text if data is None else data.decode("ascii", "replace")
