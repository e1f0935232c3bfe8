"""Which file system a directory lies on."""

from pathlib import Path

import pytest

from llmfail.store.disk import DiskStore
from llmfail.store.sqlite import state_directory

MOUNTS = r"""/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/ann/local ext4 rw 0 0
//server/share /mnt/my\040share cifs rw 0 0
/dev/sdc1 /over ext4 rw 0 0
server:/over /over nfs rw 0 0
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib", "ext4"),
        ("/home", "nfs4"),
        ("/home/ann/.local/state", "nfs4"),
        ("/home/ann/local/state", "ext4"),
        ("/homestead", "ext4"),
        ("/mnt/my share/state", "cifs"),
        ("/over/state", "nfs"),
    ],
)
def test_the_innermost_mount_counts(directory, kind):
    assert state_directory.file_system_of(Path(directory), MOUNTS) == kind


def test_a_network_file_system_is_warned_of_when_the_state_is_made_and_not_again(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path} nfs4 rw 0 0\n")
    monkeypatch.setattr(state_directory, "MOUNTS", mounts)
    warnings = []
    for _ in range(2):
        disk = DiskStore(tmp_path / "state", 5, warn=warnings.append)
        disk.read(["a"])
        disk.close()
    (warning,) = warnings
    assert "is on a network file system (nfs4)" in warning


def test_a_system_that_does_not_tell_its_mounts_is_not_warned_of(tmp_path, monkeypatch):
    monkeypatch.setattr(state_directory, "MOUNTS", tmp_path / "none")
    assert state_directory.network_file_system_of(tmp_path) is None
