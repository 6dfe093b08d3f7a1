"""`sicklescope model`: a laboratory's own models, with a gate report that passed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from edge.bundle.bundle_file import is_bundle
from edge.config.loader import Loaded, load
from edge.errors import InputError
from edge.runtime.bundle_store import BundleStore
from edge.runtime.contract import ROLES, SHIPPED_SHA256, Role
from edge.runtime.model_store import SHIPPED, ModelStore
from edge.system.console import ConfigPath, answering, err

app = typer.Typer(
    help="Install, list, choose and roll back models of your own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RoleName = Literal["detector", "classifier"]


@app.command()
def install(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An ONNX file with its contract, or a signed bundle.")],
    report: Annotated[
        Path | None, typer.Option("--report", metavar="JSON", help="The gate's report on this very ONNX file.")
    ] = None,
    older: Annotated[bool, typer.Option("--older", help="Take a bundle that is no newer than those before.")] = False,
    config: ConfigPath = None,
) -> None:
    """Copy a model in. It must keep its contract and have passed its gate.

    `use` then chooses it. A signed bundle is a pair, and used from the end of the sample at hand on.
    """
    with answering():
        loaded = load(config)
        if is_bundle(file):
            taken = _bundles(loaded).take_in(file, older)
            typer.echo(
                f"bundle {taken.in_words} was taken in; it is used between two samples, or from the next start on"
            )
            return
        if report is None:
            raise InputError(f"{file} needs its gate's report: --report JSON. A signed bundle brings it along")
        contract, sha256 = _store(loaded).install(file, report)
        typer.echo(f"installed {contract.role} {contract.name} {contract.version}, sha256 {sha256}")
        typer.echo(f"It is not in use yet: sicklescope model use {sha256[:12]}")


@app.command("list")
def list_(config: ConfigPath = None) -> None:
    """Show the models there are; * is in use, ~ waits for the end of a sample."""
    with answering():
        loaded = load(config)
        store, bundles = _store(loaded), _bundles(loaded).record()
        for taken in bundles.bundles:
            mark = "*" if bundles.in_use == taken else "~" if bundles.waiting == taken.digest else " "
            typer.echo(f"{mark} bundle {taken.in_words}")
        for role in ROLES:
            history, given = store.history(role), getattr(loaded.config.models, role)
            used = history.stack[-1] if given.path is None and bundles.in_use is None else None
            typer.echo(f"{role}:")
            if given.path is not None:
                where = loaded.sources[f"models.{role}.path"]
                typer.echo(f"  * {given.path} by models.{role}.path ({where}), whatever is chosen here")
            typer.echo(f"  {'*' if used == SHIPPED else ' '} {SHIPPED}, sha256 {SHIPPED_SHA256[role][:12]}")
            for one in history.installed:
                mark = "*" if used == one.sha256 else " "
                gate = f"gate passed {one.report.created:%Y-%m-%d}"
                typer.echo(f"  {mark} {one.name} {one.version}, sha256 {one.sha256[:12]}, {gate}")


@app.command()
def use(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name, first digits of the digest, or `shipped`.")],
    role: Annotated[RoleName | None, typer.Option("--role", help="Needed for `shipped`.")] = None,
    config: ConfigPath = None,
) -> None:
    """Choose an installed model, from the next start on."""
    with answering():
        loaded = load(config)
        chosen_role, model = _store(loaded).use(name, role)
        _tell(loaded, chosen_role, model)


@app.command()
def rollback(
    role: Annotated[RoleName | None, typer.Argument(help="Of which network; without one: the bundle.")] = None,
    config: ConfigPath = None,
) -> None:
    """Go back to the model, or the bundle, that was in use before, from the next start on."""
    with answering():
        loaded = load(config)
        if role is None:
            before = _bundles(loaded).rollback()
            typer.echo(f"{f'bundle {before.in_words}' if before else 'no bundle'} is in use from the next start on")
            return
        _tell(loaded, role, _store(loaded).rollback(role))


def _store(loaded: Loaded) -> ModelStore:
    return ModelStore(loaded.config.device.state_dir)


def _bundles(loaded: Loaded) -> BundleStore:
    return BundleStore(loaded.config.device.state_dir, loaded.config.models)


def _tell(loaded: Loaded, role: Role, model: str) -> None:
    typer.echo(f"{role}: {model} is in use from the next start on")
    given = getattr(loaded.config.models, role)
    if given.path is not None:
        err.print(
            f"but models.{role}.path names {given.path}, which wins: take it out of {loaded.path or 'the environment'}",
            style="yellow", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
