"""Whose the device's files are: a command that another user gives must not leave files that the service cannot read."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from edge.errors import StorageError


def refuse_other_user(folder: Path) -> None:
    """Raise StorageError where the folder is another user's.

    Root would leave files there, or nobody may write.
    """
    if not folder.is_dir():
        return
    owner, user = folder.stat().st_uid, os.geteuid()
    if user == owner or (user != 0 and os.access(folder, os.W_OK)):
        return
    name = _name(owner)
    raise StorageError(
        f"{folder} belongs to the user {name}, and this command runs as {_name(user)}. Run it as {name}: "
        f"sudo -u {name} sicklescope …"
    )


def become_owner(folder: Path) -> None:
    """Go on as the user whose the folder is, for good, where root runs this."""
    if os.geteuid() != 0 or not folder.is_dir():
        return
    found = folder.stat()
    if found.st_uid == 0:
        return
    try:
        entry = pwd.getpwuid(found.st_uid)
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    except KeyError:
        groups = [found.st_gid]
    os.setgroups(groups)
    os.setgid(found.st_gid)
    os.setuid(found.st_uid)


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"#{user}"
