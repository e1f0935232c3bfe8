"""What a provider calls a request, which its support asks for. Gemini says it in the body only
(``responseId``), so its replies have none here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from llmfail.core.model import Secret
from llmfail.core.one_line import one_line

REQUEST_ID_HEADERS: Final = (
    "request-id",  # Anthropic
    "x-request-id",  # OpenAI, Groq, xAI, and most others
    "x-ds-trace-id",  # DeepSeek
    "mistral-correlation-id",
    "apim-request-id",  # Azure
    "x-amzn-requestid",  # Bedrock
    "cf-ray",  # whoever stands behind Cloudflare and says nothing else
)
"""The first that is there counts."""
MAX_ID_CHARS = 128


def find_request_id(headers: Mapping[str, str], hide: Secret | None) -> str | None:
    """``headers`` with names in lower case; ``hide`` is masked."""
    for name in REQUEST_ID_HEADERS:
        if found := headers.get(name):
            return one_line(found, hide, MAX_ID_CHARS) or None
    return None
