"""The limits of this process, for messages about having reached one of them."""

from __future__ import annotations

import resource

from llmfail.core.exhaustion import describe_exhaustion, find_exhaustion


def explain_exhaustion(error: BaseException) -> str | None:
    """What this process or machine has nothing left of, and the limit; None when the error is another."""
    exhaustion = find_exhaustion(error)
    if exhaustion is None:
        return None
    max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return describe_exhaustion(exhaustion, max_files)
