"""`sicklescope user`: who may use the page from a browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.config.environment import person
from edge.config.loader import load
from edge.errors import CommandError
from edge.system.console import ConfigPath, answering

if TYPE_CHECKING:
    from edge.storage.users import Users

app = typer.Typer(
    help="Add, list and remove users of the page, and end their logins.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

UserName = Annotated[
    str, typer.Argument(metavar="NAME", help="As the clinic calls the person; stands on what is signed.")
]

NAME = r"[^\W_][\w .'-]{0,62}"
"""What a user may be called."""


@app.command()
def add(
    name: UserName,
    roles: Annotated[
        list[str], typer.Option("--role", metavar="ROLE", help="operator, reviewer or integrator; may be repeated.")
    ],
    config: ConfigPath = None,
) -> None:
    """Add a user, or give one a new password and new roles; logins of the user end.

    The password is asked for twice, or read from standard input where that is no terminal.
    """
    with answering():
        import re

        from edge.api.access import ROLES
        from edge.api.passwords import hashed
        from edge.storage.users import User

        wrong = [role for role in roles if role not in ROLES]
        if wrong:
            raise CommandError(f"--role is {wrong[0]!r}; expected {', '.join(ROLES)}")
        if not re.fullmatch(NAME, name):
            raise CommandError("the name cannot be used; expected 1 to 63 letters, digits, spaces, dots or dashes, "
                               "beginning with a letter or digit")  # fmt: skip
        loaded = load(config)
        password = hashed(_password())
        with _users(config) as users:
            first = not users.any()
            users.put(User(name, tuple(dict.fromkeys(roles)), password))
            users.note(person(), "added user", name)
        typer.echo(f"{name}: {', '.join(dict.fromkeys(roles))}")
        if first and loaded.config.web.host is not None:
            typer.echo("restart the service, and it can be reached from other devices: systemctl restart sicklescope")


def _password() -> str:
    import sys

    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")


@app.command("list")
def list_(config: ConfigPath = None) -> None:
    """List the users with their roles."""
    with answering(), _users(config) as users:
        for user in users.all():
            typer.echo(f"{user.name}: {', '.join(user.roles)}")


@app.command()
def remove(name: UserName, config: ConfigPath = None) -> None:
    """Remove a user; what the person did stays on record."""
    with answering(), _users(config) as users:
        if len(users.all()) == 1 and users.find(name):
            raise CommandError(
                f"{name} is the only user: without one anybody at the device could use the page. Add another first"
            )
        if not users.remove(name):
            raise CommandError(f"there is no user {name}. `sicklescope user list` shows those there are")
        users.note(person(), "removed user", name)
        typer.echo(f"{name} is removed")


@app.command()
def logout(name: UserName, config: ConfigPath = None) -> None:
    """End every login of a user at once."""
    with answering(), _users(config) as users:
        ended = users.end_all(name)
        users.note(person(), "ended the logins of", name)
        typer.echo(f"{ended} logins of {name} are ended")


@contextmanager
def _users(config: Path | None) -> Iterator[Users]:
    from edge.storage.database import Database, database_path
    from edge.storage.users import Users

    with Database(database_path(load(config).config), checked=False) as database:
        yield Users(database)
