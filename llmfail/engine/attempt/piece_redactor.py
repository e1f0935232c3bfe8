"""The pieces of an answer on their way out of an attempt: without the key that was sent, also where it is cut
into pieces, and with the name of the vendor that alone may see its signatures.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmfail.core.answer_piece import AnswerPiece, CallArguments, CallBegun, TextPiece, ThoughtPiece
from llmfail.core.conversation import Signature
from llmfail.core.model import Endpoint
from llmfail.core.redaction import StreamRedactor, is_masked_in_answers, mask_key
from llmfail.providers.stream import StreamPiece

_Channel = tuple[type, int]


class PieceRedactor:
    """Texts, thoughts and the arguments of each call are channels of their own; where another one goes on,
    what was withheld of the last one has come to its end.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._is_masking = is_masked_in_answers(endpoint.secret)
        self.text = StreamRedactor(endpoint.secret)
        self._redactors: dict[_Channel, StreamRedactor] = {(TextPiece, 0): self.text}
        self._channel: _Channel = (TextPiece, 0)

    def feed(self, piece: StreamPiece) -> Sequence[AnswerPiece]:
        """What may be shown after this piece."""
        match piece:
            case TextPiece(text):
                if not self._is_masking:
                    return (piece,)
                before, said = self._say((TextPiece, 0), text)
                return (*before, TextPiece(said)) if said else before
            case ThoughtPiece(text, signature):
                before, said = self._say((ThoughtPiece, 0), text)
                own = self._sign(signature)
                return (*before, ThoughtPiece(said, own)) if said or own else before
            case CallArguments(index, text):
                before, said = self._say((CallArguments, index), text)
                return (*before, CallArguments(index, said)) if said else before
            case CallBegun(index, own_id, name, signature):
                before, _ = self._say((CallBegun, index), "")
                begun = CallBegun(index, self._mask(own_id), self._mask(name), self._sign(signature))
                return (*before, begun)
            case _:
                return ()

    def flush(self) -> Sequence[AnswerPiece]:
        """What is withheld no more."""
        kind, index = self._channel
        redactor = self._redactors.get(self._channel)
        rest = "" if redactor is None else redactor.flush()
        if not rest:
            return ()
        if kind is CallArguments:
            return (CallArguments(index, rest),)
        return (TextPiece(rest) if kind is TextPiece else ThoughtPiece(rest),)

    def _say(self, channel: _Channel, text: str) -> tuple[Sequence[AnswerPiece], str]:
        """What was withheld on another channel, and what may be said on this one."""
        if not self._is_masking:
            return (), text
        before: Sequence[AnswerPiece] = ()
        if channel != self._channel:
            before, self._channel = self.flush(), channel
        redactor = self._redactors.get(channel)
        if redactor is None:
            redactor = self._redactors[channel] = StreamRedactor(self._endpoint.secret)
        return before, redactor.feed(text)

    def _sign(self, signature: Signature | None) -> Signature | None:
        return signature and Signature(self._endpoint.vendor, self._mask(signature.text))

    def _mask(self, text: str) -> str:
        return mask_key(text, self._endpoint.secret) if self._is_masking else text
