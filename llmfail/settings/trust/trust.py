"""The user's consent to a configuration that was found in the current directory.

It is stored by path in the state directory, and covers exactly what needed it: each command with the files of
the directory that it runs, each variable with the host that gets it. Another edit of the file keeps it; a
change of what it covers needs it again, and is named.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from llmfail.core.errors import UsageError
from llmfail.settings.reading.find import ConfigSource, Origin
from llmfail.settings.reading.parsed_cache import read_private, write_private
from llmfail.settings.reading.plain_values import Finding, Place, format_place
from llmfail.settings.trust.trust_rules import TrustFinding, check_trust_rules

_TRUSTED_FILE: Final = "trusted.json"

Grants = Mapping[str, str]
"""What is accepted, and a digest of it as it was."""


def require_trust(source: ConfigSource, text: str, findings: Sequence[TrustFinding], state_dir: Path) -> bool:
    """Whether the user has accepted this file. Raises UsageError when a finding was not accepted."""
    granted = _load_grants(source.path, text, findings, state_dir)
    objections = _list_objections(findings, granted)
    if not objections:
        return granted is not None
    place, message = objections[0]
    more = f" (and {len(objections) - 1} more: `llmfail config check`)" if len(objections) > 1 else ""
    found = f"{source.path} was {source.origin} and "
    raise UsageError(
        f"{found}{message}, at {format_place(place)}{more}\n"
        "If that is what you want, `llmfail config trust` accepts the file as it is now."
    )


def list_objections(
    path: Path, text: str, findings: Sequence[TrustFinding], state_dir: Path
) -> tuple[Finding, ...]:
    """What of a file still needs trust."""
    return _list_objections(findings, _load_grants(path, text, findings, state_dir))


def accept(path: Path, text: str, state_dir: Path, overridden: Collection[Place] = ()) -> None:
    """Store the consent to a file with this text. Raises UsageError when it cannot be written."""
    from llmfail.settings.reading import yaml_tree

    source = ConfigSource(path=path, origin=Origin.DIRECTORY)
    findings = check_trust_rules(source, yaml_tree.parse(text).tree, overridden)
    _store(path, _merge_covers(findings), state_dir)


def _list_objections(findings: Iterable[TrustFinding], granted: Grants | None) -> tuple[Finding, ...]:
    return tuple(
        (finding.place, _describe(finding, granted))
        for finding in findings
        if granted is None or not finding.covers.items() <= granted.items()
    )


def _describe(finding: TrustFinding, granted: Grants | None) -> str:
    """What it would do; of a file that was trusted before, what has changed since."""
    if granted is None:
        return finding.message
    changed = [name for name, digest in finding.covers.items() if granted.get(name, digest) != digest]
    what = f"{', '.join(changed)}; it {finding.message}" if changed else f"it {finding.message}"
    return f"has changed since it was trusted: {what}"


def _merge_covers(findings: Iterable[TrustFinding]) -> dict[str, str]:
    return {name: digest for finding in findings for name, digest in finding.covers.items()}


def _load_grants(path: Path, text: str, findings: Sequence[TrustFinding], state_dir: Path) -> Grants | None:
    """None for a file that was never trusted. Version 0.1 trusted a whole text; that is written anew."""
    entry = _load_record(state_dir).get(_key_of(path))
    if isinstance(entry, dict):
        return {str(name): str(digest) for name, digest in entry.items()}
    if not isinstance(entry, str):
        return None
    if entry != _hash_text(text):
        return {}
    granted = _merge_covers(findings)
    with suppress(UsageError):
        _store(path, granted, state_dir)
    return granted


def _store(path: Path, granted: Grants, state_dir: Path) -> None:
    record = {**_load_record(state_dir), _key_of(path): dict(granted)}
    try:
        write_private(state_dir / _TRUSTED_FILE, json.dumps(record, indent=1))
    except OSError as error:
        raise UsageError(f"cannot write {state_dir / _TRUSTED_FILE}: {error.strerror}") from None


def _load_record(state_dir: Path) -> dict[str, object]:
    """What is accepted, by path. A damaged file is no consent."""
    try:
        record = json.loads(read_private(state_dir / _TRUSTED_FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _hash_text(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()


def _key_of(path: Path) -> str:
    return ConfigSource(path=path, origin=Origin.DIRECTORY).absolute_path
