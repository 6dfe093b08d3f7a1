"""Who may do what: roles, rights, and the right that each command needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from edge.sample.commands import Command, Discard, Erase, Reopen, Resend, Start, Stop

Role = Literal["operator", "reviewer", "integrator"]
Right = Literal["see", "scan", "review", "manage"]

ROLES: tuple[Role, ...] = get_args(Role)

RIGHTS: dict[Role, frozenset[Right]] = {
    "operator": frozenset({"see", "scan"}),
    "reviewer": frozenset({"see", "scan", "review"}),
    "integrator": frozenset({"see", "scan", "manage"}),
}
"""see: samples and state. scan: start, stop, discard, reopen. review: classes, notes, signing. manage: the rest."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        name: of the person; empty for a program on the device, which says itself for whom it asks.
        rights: what may be done.
        csrf: token that a form of this identity carries.
        signed_in: whether a password was given.
    """

    name: str
    rights: frozenset[Right]
    csrf: str = ""
    signed_in: bool = False


ALL_RIGHTS: frozenset[Right] = frozenset(get_args(Right))

PROGRAM = Identity("", ALL_RIGHTS)
"""A program that may open the Unix socket: its file's rights said so."""

LOCAL = "local"
"""How a person at the device is called while no user has a password."""


def rights_of(roles: tuple[str, ...]) -> frozenset[Right]:
    """Return what a person with these roles may do; a role of a later version gives no right."""
    return frozenset[Right]().union(*(RIGHTS[role] for role in ROLES if role in roles))


def right_for(command: Command) -> Right:
    """Return the right that a command needs."""
    if isinstance(command, Start | Stop | Discard | Reopen | Resend):
        return "scan"
    return "manage" if isinstance(command, Erase) else "review"
