"""The certificate of a server, and its key, as files."""

from __future__ import annotations

import ssl
from pathlib import Path

from llmfail.core.errors import UsageError


class TlsFiles:
    """``context`` is for a server. ``load`` reads the files anew, for connections from now on: a certificate
    is renewed every few weeks.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises UsageError."""
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.set_alpn_protocols(["http/1.1"])
        self.load()

    def load(self) -> None:
        """Files that cannot be used change nothing. Raises UsageError."""
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
            try:
                context.load_cert_chain(self._certificate, self._key, password=_ask_nobody)
            except OSError as error:
                files = f"{self._certificate} and {self._key}"
                raise UsageError(f"serve.tls: {files} cannot be used: {error.strerror or error}") from None


def _ask_nobody() -> str:
    """A server has nobody to ask for the password of a key."""
    return ""
