"""The parsed tree of a configuration, stored as JSON: reading that is far faster than importing yaml.

An entry is valid for exactly the text that it was made from, so no clock is involved. It is only a shortcut:
an error here is ignored, and no state directory is made for it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Final

from llmfail._version import __version__
from llmfail.file_owner import is_own

MAX_PRIVATE_FILE_BYTES: Final = 16_000_000
"""No file that is stored here comes near this size."""
_HARMLESS_KEY: Final = re.compile(r"\s*(?:none|\$\{[A-Za-z_][A-Za-z0-9_]*(?::-)?\})?\s*")
"""A key that is no secret: empty, ``none``, or a bare reference to the environment."""
_HARMLESS_LOGIN: Final = re.compile(r"://[\w.-]*:\$\{[A-Za-z_][A-Za-z0-9_]*(?::-)?\}@")
"""The user of a URL whose password is such a reference."""

_SECTIONS_WITH_STORES: Final = ("store", "cache", "queue")
"""The URL of a store may hold a password."""


def load_tree(state_dir: Path, path: Path, text: str) -> object:
    """The tree of exactly this text; None when it is not stored."""
    try:
        entry = json.loads(read_private(_cache_path_of(state_dir, path)))
        same = (
            entry["version"] == __version__
            and entry["path"] == str(path)
            and entry["text"] == _hash_text(text)
        )
        return entry["tree"] if same else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def save_tree(state_dir: Path, path: Path, text: str, tree: object) -> None:
    """Store the tree of a valid configuration, unless it contains a secret."""
    if _has_secret(tree):
        return
    entry = {"version": __version__, "path": str(path), "text": _hash_text(text), "tree": tree}
    try:
        if is_own(state_dir.stat().st_uid):
            write_private(_cache_path_of(state_dir, path), json.dumps(entry))
    except (OSError, ValueError):
        return


def read_private(path: Path) -> bytes:
    """The content of a regular file of this user: in a directory where others may write, any user could plant
    a file, a pipe, or a link to an endless device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not is_own(found.st_uid):
            raise PermissionError(f"{path} belongs to another user")
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_PRIVATE_FILE_BYTES:
            raise PermissionError(f"{path} is no file of ours")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_PRIVATE_FILE_BYTES)
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Write atomically a file that only this user may read."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _hash_text(text: str) -> str:
    """A hash, because a comment in the text may contain a key."""
    return sha256(text.encode()).hexdigest()


def _cache_path_of(state_dir: Path, path: Path) -> Path:
    return state_dir / f"settings-{zlib.crc32(str(path).encode()):08x}.json"


def _has_secret(tree: object) -> bool:
    """Whether any key is written out. Any header may be one, and so may a tree of the wrong form."""
    if not isinstance(tree, dict) or any(_has_login(str(tree.get(name))) for name in _SECTIONS_WITH_STORES):
        return True
    providers = tree.get("providers") or {}
    entries = list(providers.values()) if isinstance(providers, dict) else [providers]
    if any(not isinstance(entry, dict) or entry.get("headers") for entry in (*entries, *_models_of(tree))):
        return True
    serve = tree.get("serve") or {}
    keys = serve.get("keys") or [] if isinstance(serve, dict) else [serve]
    if not isinstance(keys, list) or not all(isinstance(entry, dict) for entry in keys):
        return True
    return any(
        not isinstance(entry.get(key), dict) and not _HARMLESS_KEY.fullmatch(str(entry.get(key) or ""))
        for entry in (*entries, *keys, serve)
        for key in ("api_key", "token", "key", "admin_token")
    )


def _has_login(url: str) -> bool:
    """Whether a URL may have a password in it."""
    return "://" in url and "@" in _HARMLESS_LOGIN.sub("://", url)


def _models_of(tree: dict[str, object]) -> list[object]:
    models = tree.get("models") or {}
    return list(models.values()) if isinstance(models, dict) else [models]
