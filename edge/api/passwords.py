"""Passwords as argon2id hashes, one at a time: each takes memory that a small device has once."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from edge.errors import ConfigError

SHORTEST, LONGEST = 10, 256
"""Characters of a password (NIST SP 800-63B asks for 8 at least, and no rules of composition)."""

# OWASP Password Storage Cheat Sheet: argon2id, 19 MiB, 2 rounds, 1 lane.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_ONE_AT_A_TIME = threading.Lock()
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
"""A hash that no password has: who asks for a user that is not there learns nothing by the time it takes."""


def hashed(password: str) -> str:
    """Return the hash of a new password.

    Raises:
        ConfigError: It is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigError(f"the password has {len(password)} characters; expected {SHORTEST} to {LONGEST}")
    with _ONE_AT_A_TIME:
        return _HASHER.hash(password)


def fits(stored: str | None, password: str) -> bool:
    """Return whether a password has this hash; None: that of nobody, which takes as long."""
    if len(password) > LONGEST:
        return False
    with _ONE_AT_A_TIME:
        try:
            return _HASHER.verify(stored or _NOBODY, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False
