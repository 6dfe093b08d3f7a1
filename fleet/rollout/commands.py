"""The commands of a roll-out: `bundle key`, `make`, `sign`, `verify`, and `offer`, `withdraw`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.bundle.bundle_file import check_signature, extract, read_bundle
from edge.bundle.offer import Offer
from edge.errors import InputError, ModelError
from edge.system.atomic_files import aside
from edge.system.console import answering
from edge.system.digest import sha256_file
from fleet.config import load
from fleet.keys.passwords import password
from fleet.rollout.bundles import make_bundle, make_key, sign_bundle
from fleet.rollout.offering import Broker, chosen

PROGRAM = "sicklescope-fleet"
VARIABLE = "FLEET_SIGNING_PASSWORD"

app = typer.Typer(
    help="Make, sign and verify bundles of models: docs/rollout.md.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings: docs/fleet.md.")]
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE")]
Key = Annotated[Path, typer.Option("--key", metavar="FILE", help="The signing key.")]
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help=f"Else {VARIABLE} in the environment, else it is asked for.")
]
Sites = Annotated[list[str] | None, typer.Option("--site", help="Only devices of this site; may be given again.")]


@app.command("key")
def key_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To make.")], password_file: PasswordFile = None
) -> None:
    """Make a signing key; keep it off every server."""
    with answering(PROGRAM):
        public = make_key(file, password(VARIABLE, password_file, new=True))
        typer.echo(f'{file} signs. In sicklescope.toml of each device:\n[models]\naccept_from = ["{public}"]')


@app.command()
def make(
    bundle: BundlePath,
    detector: Annotated[Path, typer.Option(help="Its ONNX file.")],
    detector_report: Annotated[Path, typer.Option(help="Its gate's report.")],
    classifier: Annotated[Path, typer.Option(help="Its ONNX file.")],
    classifier_report: Annotated[Path, typer.Option(help="Its gate's report.")],
    name: Annotated[str, typer.Option(help="Of the pair.")],
    serial: Annotated[int, typer.Option(help="Above that of every bundle before.")],
    minimum_version: Annotated[str, typer.Option(help="Of sicklescope on a device.")],
) -> None:
    """Put a pair of models and the reports of their gates into one file, not signed yet."""
    with answering(PROGRAM):
        files = {
            ("detector", "model"): detector, ("detector", "report"): detector_report,
            ("classifier", "model"): classifier, ("classifier", "report"): classifier_report,
        }  # fmt: skip
        make_bundle(bundle, files, name, serial, minimum_version)
        typer.echo(f"{bundle} is made. Read it, then sign it: sicklescope-fleet bundle sign")


@app.command()
def sign(bundle: BundlePath, key: Key, password_file: PasswordFile = None) -> None:
    """Sign a bundle; devices that accept from this key will use it."""
    with answering(PROGRAM):
        signed, public = sign_bundle(bundle, key, password(VARIABLE, password_file))
        typer.echo(f"{bundle}: {signed.manifest.name}, serial {signed.manifest.serial}, is signed by {public}")


@app.command()
def verify(
    bundle: BundlePath, accept: Annotated[list[str], typer.Option("--accept", help="A public key, as in the devices.")]
) -> None:
    """Check signature and digests of a bundle; the models are tried by the device itself."""
    with answering(PROGRAM):
        found = read_bundle(bundle)
        by = check_signature(found, accept)
        with aside(bundle.absolute().parent) as folder:
            extract(found, folder)
        manifest = found.manifest
        typer.echo(
            f"{bundle}: {manifest.name}, serial {manifest.serial}, for {manifest.minimum_version} on, signed by {by}"
        )


def offer(
    bundle: BundlePath,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the devices; a greater one holds the smaller.")],
    site: Sites = None,
    config: ConfigFile = None,
) -> None:
    """Offer a bundle to a share of the devices; its file lies at their models.fetch_from."""
    with answering(PROGRAM):
        found = read_bundle(bundle)
        if not found.signature:
            raise ModelError(f"{bundle} is not signed: no device would take it")
        wish = Offer(
            file=bundle.name, serial=found.manifest.serial, bytes=bundle.stat().st_size, sha256=sha256_file(bundle)
        )
        _publish(config, tuple(site or ()), share, wish)


def withdraw(site: Sites = None, config: ConfigFile = None) -> None:
    """Withdraw what was offered; devices that have it already keep it."""
    with answering(PROGRAM):
        _publish(config, tuple(site or ()), 1.0, None)


def _publish(config: Path | None, sites: tuple[str, ...], share: float, wish: Offer | None) -> None:
    with Broker(load(config).mqtt) as broker:
        known = broker.devices()
        stage = chosen(known, sites, share)
        for device in stage:
            broker.publish(device, wish)
            typer.echo("/".join(device))
    if not known:
        raise InputError("the broker knows of no device: none has sent its `birth`")
    typer.echo(f"{'offered to' if wish else 'withdrawn from'} {len(stage)} of {len(known)} devices")
