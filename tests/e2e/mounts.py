"""Places that are full or read-only, made by mounts that only the process under test sees.

A namespace of its own holds the mount, so nothing of the machine changes and nothing has to be cleaned up.
Needs unshare(1), and root or the right to make user namespaces.
"""

import os
import shutil
import subprocess

_UNSHARE = (
    ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")
)
_FULL = """
    mount -t tmpfs -o size={size} tmpfs "{place}.over"
    cp -a "{place}/." "{place}.over/"
    dd if=/dev/zero of="{place}.over/filler" bs=4096 2>/dev/null || true
    mount --bind "{place}.over" "{place}"
    exec "$@"
"""
_READ_ONLY = """
    mount --bind "{place}" "{place}"
    mount -o remount,bind,ro "{place}"
    exec "$@"
"""


def can_mount():
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        [*_UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


def mount_full(directory, size="256k"):
    """A launcher in whose eyes this directory holds what it holds, and not one byte more."""
    directory.with_name(f"{directory.name}.over").mkdir(exist_ok=True)
    return _build_launcher(_FULL.format(place=directory, size=size))


def mount_read_only(directory):
    """A launcher in whose eyes nothing can be written in this directory."""
    return _build_launcher(_READ_ONLY.format(place=directory))


def _build_launcher(script):
    return (*_UNSHARE, "sh", "-ec", script, "sh")
