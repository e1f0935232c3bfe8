"""A request that a program wrote for one vendor's API: read into the canonical form, and written back."""

import json

from llmfail.core.model import Request
from llmfail.core.request.fitted_request import fit_request
from llmfail.providers import load_wire_format
from llmfail.providers.dialects.request_document import read_request


def request_of(document):
    read = read_request(document)
    return Request(read.messages, **{name: one for name, one in read.fields.items() if one is not None})


def write_again(document, endpoint, *, stream=False):
    """The body that the same API is sent; nothing in the document may be left out of it."""
    fitted = fit_request(request_of(document), endpoint)
    assert (fitted.dropped, fitted.unsuited) == ((), "")
    return json.loads(
        load_wire_format(endpoint.api, endpoint.door).encode(fitted.request, endpoint, stream=stream).body
    )
