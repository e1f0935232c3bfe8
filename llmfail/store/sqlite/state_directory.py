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
    """Make the directory for this user alone, or check an existing one. In another user's directory where
    others may write, any user could plant a file for us to read; the user's own directory is not judged.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    is_foreign = found.st_uid != os.geteuid()
    group_may_write = found.st_mode & stat.S_IWGRP and found.st_uid != 0
    if is_foreign and (found.st_mode & stat.S_IWOTH or group_may_write):
        raise StoreError(
            f"{directory} belongs to another user and others may write there; "
            "name a directory of your own with --state-dir"
        )


def identify_file(path: Path) -> FileIdentity | None:
    """The file at this path; None when there is none."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path} is not a regular file; remove it, or name another --state-dir")
    return found.st_dev, found.st_ino


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
    lock = os.open(path.with_suffix(".lock"), flags, 0o600)
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
