"""The user's consent to a configuration that was found in the current directory.

It is stored by path and content in the state directory: any change of the file needs it again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from llmfail.core.errors import UsageError
from llmfail.settings.reading.find import ConfigSource
from llmfail.settings.reading.parsed_cache import read_private, write_private
from llmfail.settings.reading.plain_values import Finding, format_place

_TRUSTED_FILE: Final = "trusted.json"


def require_trust(source: ConfigSource, text: str, findings: Sequence[Finding], state_dir: Path) -> None:
    """Raises UsageError when there are findings and the user has not accepted exactly this file."""
    if not findings or is_trusted(source.path, text, state_dir):
        return
    place, message = findings[0]
    more = f" (and {len(findings) - 1} more: `llmfail config check`)" if len(findings) > 1 else ""
    raise UsageError(
        f"{source.path} was {source.origin} and {message}, at {format_place(place)}{more}\n"
        "If that is what you want, `llmfail config trust` accepts the file as it is now."
    )


def is_trusted(path: Path, text: str, state_dir: Path) -> bool:
    return _load_accepted(state_dir).get(_key_of(path)) == _hash_text(text)


def accept(path: Path, text: str, state_dir: Path) -> None:
    """Store the consent. Raises UsageError when it cannot be written."""
    accepted = {**_load_accepted(state_dir), _key_of(path): _hash_text(text)}
    try:
        write_private(state_dir / _TRUSTED_FILE, json.dumps(accepted, indent=1))
    except OSError as error:
        raise UsageError(f"cannot write {state_dir / _TRUSTED_FILE}: {error.strerror}") from None


def _load_accepted(state_dir: Path) -> dict[str, str]:
    """Hashes by path. A damaged file is no consent."""
    try:
        accepted = json.loads(read_private(state_dir / _TRUSTED_FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    return accepted if isinstance(accepted, dict) else {}


def _hash_text(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()


def _key_of(path: Path) -> str:
    """The path without following a last link: names in the file are relative to its directory."""
    return str(path.parent.resolve() / path.name)
