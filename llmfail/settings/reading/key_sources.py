"""Keys that stand in a file or come from a command, and the file of variables that a configuration names.

A file of keys is readable by its owner alone, else it is refused. A command runs when its key is needed, once
in a process, without a shell.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from llmfail.core.errors import UsageError
from llmfail.core.model import LazySecret, Secret
from llmfail.settings.schema.secret_values import KeySource
from llmfail.settings.schema.serve_settings import ServeSettings
from llmfail.settings.schema.settings import Settings

COMMAND_TIMEOUT: Final = 30.0
"""Seconds: a password manager may ask somebody."""
_MAX_FILE_BYTES: Final = 1 << 20


def bind_key_sources(settings: Settings, directory: Path) -> Settings:
    """The settings with keys that know how to be got; ``directory`` is that of the configuration."""
    settings = replace(settings, serve=_bind_serve_keys(settings.serve, directory))
    changed = {}
    for name, provider in settings.providers.items():
        found = {
            field: _bind(f"provider {name}", key, directory)
            for field in ("api_key", "token")
            if isinstance(key := getattr(provider, field), KeySource)
        }
        if found:
            changed[name] = replace(provider, **found)
    return replace(settings, providers={**settings.providers, **changed}) if changed else settings


def read_env_file(path: Path) -> Mapping[str, str]:
    """The variables of lines such as ``NAME=value``, ``export NAME="value"``; ``#`` begins a comment. Raises
    UsageError.
    """
    variables = {}
    for number, line in enumerate(_read_private(path).splitlines(), 1):
        text = line.strip().removeprefix("export ").lstrip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise UsageError(f"{path}, line {number}: expected NAME=value")
        variables[name.strip()] = _unquote(value.strip())
    return variables


def _unquote(value: str) -> str:
    if value[:1] in {"'", '"'} and value.find(value[0], 1) > 0:
        return value[1 : value.index(value[0], 1)]
    return value.partition(" #")[0].rstrip()


def _bind_serve_keys(serve: ServeSettings, directory: Path) -> ServeSettings:
    keys = tuple(
        replace(one, key=_bind(f"serve key {one.name}", one.key, directory))
        if isinstance(one.key, KeySource)
        else one
        for one in serve.keys
    )
    token = serve.admin_token
    if isinstance(token, KeySource):
        token = _bind("admin_token", token, directory)
    return replace(serve, keys=keys, admin_token=token)


def _bind(owner: str, source: KeySource, directory: Path) -> Secret:
    if source.file is not None:
        path = directory / Path(source.file).expanduser()
        return LazySecret(lambda: _require_key(f"{path}", _read_private(path)))
    return LazySecret(lambda: _require_key(f"the command of {owner}", _run(owner, source.command)))


def _require_key(where: str, text: str) -> str:
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"{where} has no key: one line of visible ASCII is expected")
    return key


def _read_private(path: Path) -> str:
    """Raises UsageError, also for a file that others may read. A pipe is refused: it could be waited for
    without an end.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise UsageError(f"{path} is not a regular file")
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"{path} can be read by others; chmod 600 {path}")
            return file.read(_MAX_FILE_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None


def _open_without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


def _run(owner: str, command: tuple[str, ...]) -> str:
    """What it prints is never told, nor what it complains of: both may have a key in them."""
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - the configuration names it, and is trusted
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"no end in {COMMAND_TIMEOUT:g} s" if not isinstance(error, OSError) else str(error.strerror)
        raise UsageError(f"the key of {owner}: {command[0]}: {reason}") from None
    if done.returncode:
        raise UsageError(f"the key of {owner}: {command[0]} ended with {done.returncode}")
    return done.stdout.decode("utf-8", "replace")
