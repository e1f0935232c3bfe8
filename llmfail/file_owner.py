"""Whose a file is. What another user may write is not believed, and what another user owns is not used.

Nothing here opens a file or raises: who asks knows what to say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

ROOT_UID = 0


def is_own(uid: int) -> bool:
    return uid == os.geteuid()


def may_be_believed(uid: int, environ: Mapping[str, str]) -> bool:
    """Whether a file of this user may tell us what to do: our own, root's, and for root under sudo that of
    the user who called it.
    """
    caller = environ.get("SUDO_UID", "") if os.geteuid() == ROOT_UID else ""
    return is_own(uid) or uid == ROOT_UID or str(uid) == caller


def name_user(uid: int) -> str:
    """``root``, ``ann (uid 1001)``, or ``uid 1001`` where there is no such user any more."""
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
    return name if uid == ROOT_UID else f"{name} (uid {uid})"
