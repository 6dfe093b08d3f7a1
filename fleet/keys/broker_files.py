"""What Mosquitto needs to let in the devices of a programme, each to its own topics and no others."""

from __future__ import annotations

from pathlib import Path

from edge.publish.message_base import ROOT
from edge.publish.messages import MESSAGES
from fleet.keys.authority import CERTIFICATE, REVOKED, Authority
from fleet.keys.key_files import write_file

COLLECTOR = "collector"
"""The broker's user that reads all devices and asks them; no device is called so, for its name has a slash."""

ASKED = ("command", "offer")
"""What a device reads on its own branch, and others write."""

QUEUES = (
    "persistence true",
    "autosave_interval 60",
    "max_queued_messages 1000000",
    "max_queued_bytes 500000000",
    "max_inflight_messages 1000",
)
"""So that what comes for an absent collector is kept: docs/fleet.md. Without them Mosquitto keeps 1,000 messages."""

SERVER_CERTIFICATE, SERVER_KEY, ACL, SETTINGS = "server.crt", "server.key", "acl", "mosquitto.conf"


def write_broker_files(
    authority: Authority, ca: Path, folder: Path, installed: Path, hosts: list[str], days: int
) -> None:
    """Write all that a broker needs, and the collector's certificate.

    Args:
        authority: issues both certificates.
        ca: its folder.
        folder: to write to.
        installed: where the files will lie on the broker's machine.
        hosts: names or addresses by which devices reach the broker.
        days: for which its certificates hold.
    """
    authority.issue_server(hosts, days).write(folder / SERVER_CERTIFICATE, folder / SERVER_KEY)
    collector = folder / COLLECTOR
    authority.issue_client(COLLECTOR, days).write(collector / f"{COLLECTOR}.crt", collector / f"{COLLECTOR}.key")
    for name in (CERTIFICATE, REVOKED):
        write_file(folder / name, (ca / name).read_bytes())
    write_file(collector / CERTIFICATE, (ca / CERTIFICATE).read_bytes())
    write_file(folder / ACL, access_list().encode(), 0o640)
    write_file(folder / SETTINGS, settings(installed).encode())


def access_list() -> str:
    """Return Mosquitto's access list: `%u` is the certificate's name, SITE/DEVICE."""
    own = [f"pattern write {ROOT}/%u/{message.kind}" for message in MESSAGES]
    asked = [f"pattern read {ROOT}/%u/{kind}" for kind in ASKED]
    asks = [f"topic write {ROOT}/+/+/{kind}" for kind in ASKED]
    return "\n".join([f"user {COLLECTOR}", f"topic read {ROOT}/#", *asks, "", *own, *asked, ""])


def settings(installed: Path) -> str:
    """Return Mosquitto's settings: a listener that asks for certificates, and its queues."""
    return "\n".join(
        [
            "# A new revocation list counts from the next restart, which also ends the connections that are open.",
            "listener 8883",
            f"cafile {installed / CERTIFICATE}",
            f"certfile {installed / SERVER_CERTIFICATE}",
            f"keyfile {installed / SERVER_KEY}",
            f"crlfile {installed / REVOKED}",
            "require_certificate true",
            "use_identity_as_username true",
            "allow_anonymous false",
            f"acl_file {installed / ACL}",
            *QUEUES,
            "",
        ]
    )
