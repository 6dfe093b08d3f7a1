"""The commands of a programme's keys: `ca`, `enrol`, `renew`, `revoke`, `broker-files` and `certificates`."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.serialization import Encoding

from edge.errors import InputError
from edge.system.console import answering
from fleet.keys.authority import (
    CERTIFICATE,
    REVOKED,
    Authority,
    common_name,
    create,
    issued,
    opened,
    revoked,
)
from fleet.keys.broker_files import write_broker_files
from fleet.keys.key_files import write_file
from fleet.keys.names import identity
from fleet.keys.passwords import password

PROGRAM = "sicklescope-fleet"
VARIABLE = "FLEET_CA_PASSWORD"

DEVICE_DAYS, BROKER_DAYS = 730, 730
"""Two years: a clinic that is visited once a year is renewed in time."""

Site = Annotated[str, typer.Argument(help="device.site of the device.")]
Device = Annotated[str, typer.Argument(help="device.device of the device.")]
Folder = Annotated[Path, typer.Option("--ca", metavar="FOLDER", help="Of the authority.")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help=f"Else {VARIABLE} in the environment, else it is asked for.")
]
To = Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Where to write; else SITE-DEVICE.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="For which the certificate holds.")]


def ca(
    folder: Annotated[Path, typer.Argument(help="To make; keep it off the broker and off the network.")],
    programme: Annotated[str, typer.Option(help="Name of the programme.")] = "sicklescope programme",
    password_file: PasswordFile = None,
) -> None:
    """Make the certificate authority of a programme."""
    with answering(PROGRAM):
        create(folder, programme, password(VARIABLE, password_file, new=True))
        typer.echo(f"{folder} holds the authority. Who has it and its password can make devices: keep a copy apart")


def _hands_out(check: Callable[[Path, str], None]) -> Callable[..., None]:
    """Return the command that gives a device certificate and key after a check, with its name and help."""

    def command(
        site: Site, device: Device, folder: Folder, to: To = None, days: Days = DEVICE_DAYS,
        password_file: PasswordFile = None,
    ) -> None:  # fmt: skip
        with answering(PROGRAM):
            name = identity(site, device)
            with opened(folder, password(VARIABLE, password_file)) as authority:
                check(folder, name)
                _hand_out(authority, folder, site, device, to, days)

    command.__name__, command.__doc__ = check.__name__, check.__doc__
    return command


@_hands_out
def enrol(folder: Path, name: str) -> None:
    """Give a device its certificate and key."""
    if _valid(folder, name):
        raise InputError(
            f"{name} has a certificate. A newer one for the same device: sicklescope-fleet renew; if it was lost or "
            "stolen, revoke it first"
        )


@_hands_out
def renew(folder: Path, name: str) -> None:
    """Give a device a new certificate and key; the old one holds until it ends."""
    if not any(common_name(one) == name for one in issued(folder)):
        raise InputError(f"{name} has no certificate yet: sicklescope-fleet enrol {name.replace('/', ' ')}")


def revoke(site: Site, device: Device, folder: Folder, password_file: PasswordFile = None) -> None:
    """Put every certificate of a device on the revocation list."""
    with answering(PROGRAM), opened(folder, password(VARIABLE, password_file)) as authority:
        number = authority.revoke(identity(site, device))
        typer.echo(f"{number} certificates revoked. Copy {folder / REVOKED} to the broker and restart it")


def broker_files(
    hosts: Annotated[list[str], typer.Argument(help="Names or addresses by which devices reach the broker.")],
    folder: Folder,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where to write.")] = Path("broker"),
    installed: Annotated[Path, typer.Option(help="Where the files will lie at the broker.")] = Path(
        "/etc/mosquitto/sicklescope"
    ),
    days: Days = BROKER_DAYS,
    password_file: PasswordFile = None,
) -> None:
    """Write the files of a Mosquitto, and the collector's certificate."""
    with answering(PROGRAM):
        with opened(folder, password(VARIABLE, password_file)) as authority:
            write_broker_files(authority, folder, to, installed, hosts, days)
        typer.echo(f"{to}: copy it to {installed}, and {to / 'collector'} to the collector")


def certificates(folder: Folder) -> None:
    """List what the authority issued, the first to end first; needs no password."""
    with answering(PROGRAM):
        gone = {one.serial_number for one in revoked(folder)}
        for one in issued(folder):
            state = "revoked" if one.serial_number in gone else "ended" if _ended(one.not_valid_after_utc) else "valid"
            typer.echo(f"{common_name(one)}\t{state}\tends {one.not_valid_after_utc:%Y-%m-%d}\t{one.serial_number:x}")


def _valid(folder: Path, name: str) -> bool:
    gone = {one.serial_number for one in revoked(folder)}
    return any(
        common_name(one) == name and one.serial_number not in gone and not _ended(one.not_valid_after_utc)
        for one in issued(folder)
    )


def _ended(ends: datetime) -> bool:
    return ends < datetime.fromtimestamp(time.time(), timezone.utc)


def _hand_out(authority: Authority, ca: Path, site: str, device: str, to: Path | None, days: int) -> None:
    """Write what a device needs, and say what its configuration has to name."""
    target = to or Path(f"{site}-{device}")
    authority.issue_client(identity(site, device), days).write(target / "device.crt", target / "device.key")
    write_file(target / CERTIFICATE, authority.certificate.public_bytes(Encoding.PEM))
    typer.echo(f"{target}: copy it to the device, and delete it here: it holds the device's key. In sicklescope.toml:")
    typer.echo(f'[device]\nsite = "{site}"\ndevice = "{device}"\n[mqtt]\nport = 8883\ntls = true')
    typer.echo('ca_file = "ca.crt"\ncert_file = "device.crt"\nkey_file = "device.key"')
