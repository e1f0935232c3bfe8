"""The state directory: who owns it, which file is at a path, and who may replace it.

Raises OSError as the system does, and StoreError for a file or directory that must not be trusted.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmfail.core.errors import StoreError
from llmfail.file_owner import ROOT_UID, is_own, name_user

LOCK_SUFFIX = ".lock"
MOUNTS = Path("/proc/self/mounts")
NETWORK_FILE_SYSTEMS = {
    "afs",
    "ceph",
    "cifs",
    "fuse.glusterfs",
    "fuse.sshfs",
    "glusterfs",
    "lustre",
    "nfs",
    "nfs4",
    "smb3",
}
MOUNT_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}

FileIdentity = tuple[int, int]
"""Device and inode, which tell whether a path still leads to the same file."""


def prepare_directory(directory: Path) -> None:
    """Make the directory for this user alone, or check an existing one. Whoever owns it could read what is
    kept there, and put something else in its place; root may be believed where nobody else can write. Root
    makes none in a directory of somebody else, who could not use it.
    """
    if os.geteuid() == ROOT_UID:
        nearest = next(place for place in (directory, *directory.parents) if place.exists())
        _require_own(nearest, directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_own(directory, directory)


def _require_own(place: Path, directory: Path) -> None:
    found = place.stat()
    others_may_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not is_own(found.st_uid) and (found.st_uid != ROOT_UID or others_may_write):
        raise StoreError(
            f"{directory} cannot keep the state: {place} belongs to {name_user(found.st_uid)}, and not to "
            f"{name_user(os.geteuid())}; name a directory of your own with --state-dir"
        )


def identify_file(path: Path) -> FileIdentity | None:
    """The file at this path; None when there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path} is not a regular file; remove it, or name another --state-dir")
    if not is_own(found.st_uid):
        raise StoreError(
            f"cannot use {path}: it belongs to {name_user(found.st_uid)}; "
            "remove it, or name another directory with --state-dir"
        )
    return found.st_dev, found.st_ino


def check_side_files(path: Path) -> None:
    """The files that SQLite and we keep beside a database, whoever has put them there."""
    for name in (f"{path}-wal", f"{path}-shm", path.with_suffix(LOCK_SUFFIX)):
        identify_file(Path(name))


def create_file(path: Path) -> bool:
    """Make an empty file that only its owner may read; False when there is one already, which is not opened:
    closing it would drop the locks that this process has on it.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    return True


@contextmanager
def lock_exclusively(path: Path) -> Iterator[None]:
    """The right to create or replace the file at ``path``; BlockingIOError when another process has it. The
    lock is a file beside it, which stays.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(path.with_suffix(LOCK_SUFFIX), flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def network_file_system_of(directory: Path) -> str | None:
    """The kind of the network file system that holds the directory; None when it is local or unknown."""
    try:
        mounts = MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return None
    kind = file_system_of(directory.resolve(), mounts)
    return kind if kind in NETWORK_FILE_SYSTEMS else None


def file_system_of(directory: Path, mounts: str) -> str:
    """The file system of the innermost mount above the directory; the last line of equal ones counts."""
    depth, innermost = 0, ""
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        for escape, character in MOUNT_ESCAPES.items():
            point = point.replace(escape, character)
        mount = Path(point)
        if directory.is_relative_to(mount) and len(mount.parts) >= depth:
            depth, innermost = len(mount.parts), kind
    return innermost
