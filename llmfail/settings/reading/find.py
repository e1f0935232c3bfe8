"""Which file is the configuration, and its text. Its content is not checked here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from msgspec import Struct

from llmfail.core.errors import Problem, SettingsError, UsageError
from llmfail.file_owner import may_be_believed, name_user

FILE_NAME: Final = "llmfail.yaml"
OTHER_FILE_NAME: Final = "llmfail.yml"
"""Found where there is no file of the first name."""
CONFIG_VARIABLE: Final = "LLMFAIL_CONFIG"
NO_DIRECTORY: Final = Path(os.devnull, "llmfail")
MAX_CONFIG_BYTES: Final = 1_000_000
"""A larger file is no configuration."""


class Origin(StrEnum):
    """Why a file was chosen; the text completes "because …"."""

    OPTION = "named by --config"
    VARIABLE = "named by LLMFAIL_CONFIG"
    DIRECTORY = "found in the current directory"
    USER = "found in the user's configuration directory"
    PACKAGE = "nothing else was found: the configuration that ships with llmfail"


class ConfigSource(Struct, frozen=True, kw_only=True):
    """A configuration file, and why it was chosen."""

    path: Path
    origin: Origin
    is_trusted: bool = False
    """Whether the user has accepted a file that was found in the current directory."""

    @property
    def is_strange(self) -> bool:
        """Whether nobody has chosen this file: it merely lies in the current directory."""
        return self.origin is Origin.DIRECTORY and not self.is_trusted

    @property
    def absolute_path(self) -> str:
        """The path without following a last link: names in the file are relative to its directory. As it is
        written, where the current directory was deleted.
        """
        try:
            return str(self.path.parent.resolve() / self.path.name)
        except OSError:
            return str(self.path)


def find(config: Path | None, environ: Mapping[str, str], cwd: Path) -> ConfigSource:
    """The first of: --config, LLMFAIL_CONFIG, the current directory, the user's, the packaged one."""
    if config is not None:
        return ConfigSource(path=cwd / config, origin=Origin.OPTION)
    if named := environ.get(CONFIG_VARIABLE):
        return ConfigSource(path=cwd / expand_home(Path(named)), origin=Origin.VARIABLE)
    if local := _find_in(cwd):
        return ConfigSource(path=local, origin=Origin.DIRECTORY)
    if own := _find_in(user_config_directory()):
        return ConfigSource(path=own, origin=Origin.USER)
    return ConfigSource(path=packaged_config_path(), origin=Origin.PACKAGE)


def _find_in(directory: Path) -> Path | None:
    paths = (directory / name for name in (FILE_NAME, OTHER_FILE_NAME))
    return next((path for path in paths if os.path.lexists(path)), None)


def expand_home(path: Path) -> Path:
    """A path that may begin with ``~`` or ``~user``. Raises UsageError when there is no such home."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise UsageError(f"{path}: there is no such home directory") from None


def user_config_directory() -> Path:
    import platformdirs

    return find_home_directory(lambda: platformdirs.user_config_dir("llmfail", appauthor=False))


def find_home_directory(find_path: Callable[[], str]) -> Path:
    """A directory in the user's home; for a user without one (no HOME, no entry in passwd) a path where no
    file can ever be. A relative path would be one in the current directory, where anybody may have put it.
    """
    try:
        path = Path(find_path())
    except (RuntimeError, KeyError):
        return NO_DIRECTORY
    return path if path.is_absolute() else NO_DIRECTORY


def packaged_config_path() -> Path:
    return Path(__file__).parents[2] / "data" / FILE_NAME


def read_text(source: ConfigSource) -> str:
    """The file's text. Raises SettingsError for anything that is no readable UTF-8 file."""
    try:
        return _read_bytes(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text (byte {error.start})"
    except OSError as error:
        reason = f"cannot be read: {(error.strerror or str(error)).lower()}{_suggest_init(source)}"
    except ValueError as error:
        reason = str(error)
    raise SettingsError((Problem("", reason, str(source.path)),))


def _read_bytes(source: ConfigSource) -> bytes:
    """A file that the user did not name must be a regular one: a pipe would make every command wait."""
    if source.origin not in {Origin.OPTION, Origin.VARIABLE} and source.path.exists():
        if source.path.is_dir():
            raise ValueError("is a directory")
        if not source.path.is_file():
            raise ValueError("is not a regular file")
    with source.path.open("rb") as file:
        if source.origin is Origin.DIRECTORY:
            _require_owner(source.path, file.fileno())
        data = file.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise ValueError(f"is larger than {MAX_CONFIG_BYTES:,} bytes: that is no configuration")
    return data


def _require_owner(path: Path, descriptor: int) -> None:
    """In a directory that users share, anybody could put a file for others to obey."""
    for uid in (path.lstat().st_uid, os.fstat(descriptor).st_uid):
        if not may_be_believed(uid, os.environ):
            raise ValueError(
                f"belongs to {name_user(uid)}, so it is not used merely because it lies here; "
                "if you want it, name it with --config"
            )


def _suggest_init(source: ConfigSource) -> str:
    named = source.origin in {Origin.OPTION, Origin.VARIABLE}
    return " (`llmfail config init` writes one)" if named and not os.path.lexists(source.path) else ""
