"""What a certificate may call a device: the name becomes the broker's user, and part of its access list."""

from __future__ import annotations

import re

from edge.errors import InputError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""A site or device: no character that a topic, an access list or a certificate's name gives a meaning."""

COMMON_NAME_MAX = 64
"""Characters that a common name may have (RFC 5280, ub-common-name)."""

_MEANINGS = {
    "+": "stands for any level of a topic",
    "#": "stands for all levels below it",
    "/": "begins a new level of a topic",
    "%": "begins a pattern in the broker's access list",
    ".": "is turned into a level of the topic by RabbitMQ",
    "$": "begins the broker's own topics",
}


def identity(site: str, device: str) -> str:
    """Return the common name of a device's certificate, `SITE/DEVICE`.

    Raises:
        InputError: A name cannot be carried safely, or both are too long together.
    """
    for what, name in (("site", site), ("device", device)):
        checked(what, name)
    found = f"{site}/{device}"
    if len(found) > COMMON_NAME_MAX:
        raise InputError(
            f"site and device have {len(found) - 1} characters together; a certificate's name holds "
            f"{COMMON_NAME_MAX - 1}. Choose a shorter device.site or device.device"
        )
    return found


def checked(what: str, name: str) -> str:
    """Return a name that certificate and access list can carry; raises InputError for another."""
    if NAME.fullmatch(name):
        return name
    wrong = next((character for character in name if not re.match(r"[A-Za-z0-9_-]", character)), "")
    why = _MEANINGS.get(wrong, "is no letter, digit, dash or underscore")
    found = f"{wrong!r} {why}" if wrong else "it is empty, or begins with a dash or an underscore"
    raise InputError(
        f"the {what} cannot be called {name!r} in a certificate: {found}. Expected letters, digits, dashes and "
        "underscores, beginning with a letter or digit"
    )
