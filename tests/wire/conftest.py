"""What the tests of both wires share."""

import ssl

import pytest
from certificates import write_certificate


@pytest.fixture
def identity(tmp_path):
    """A certificate for localhost, and what a server that has it needs."""
    public, private = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context
