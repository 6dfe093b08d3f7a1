"""`sicklescope-train bench`: any set of labelled cells, any architecture, measured by group."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edge.system.console import out
from edge.system.progress_bars import progress_bars
from training.answering import answering

app = typer.Typer(
    help="Fit, compare and judge networks on labelled cells, by group. docs/bench.md. Research use only.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Classifiers = Enum("Classifiers", {n: n for n in ("svm", "naive_bayes", "knn", "random_forest")}, type=str)  # type: ignore[misc]

Set = Annotated[str, typer.Option("--set", metavar="NAME|DIR", help="A set of SICKLESCOPE_DATA, or a folder a class.")]
Out = Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the run; the same command goes on in it.")]
Net = Annotated[
    str,
    typer.Option(
        "--net",
        help="vgg16, alexnet, googlenet, inception_v3, resnet50, mobilenet_v3, efficientnet_b0, efficientnet_lite0, "
        "capsnet or compact; or shape.",
    ),
]
Weights = Annotated[str | None, typer.Option(metavar="none|imagenet|FILE", help="What the trunk starts from: a .h5 of "
                                             "Keras without top, weights of a run; for features a RUN.")]  # fmt: skip
Side = Annotated[int | None, typer.Option(help="Side of the square picture, px; else the network's own.")]
Folds = Annotated[str | None, typer.Option(metavar="0,1,…", help="Only these folds.")]
Copies = Annotated[bool | None, typer.Option("--copies", help="The leaky division: turned copies, folds at random.")]
Seed = Annotated[int | None, typer.Option(min=0, help="The same seed on the same machine gives the same figures.")]


def numbers(text: str | None) -> tuple[int, ...] | None:
    """Turn `0,1` into numbers; raises BadParameter."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r}: whole numbers with commas between them expected") from error


def looks(views: int) -> Literal[1, 8]:
    """Take 1 or 8; raises BadParameter."""
    if views not in (1, 8):
        raise typer.BadParameter(f"{views}: 1 or 8 expected")
    return 8 if views == 8 else 1


def tell(run: Path, figures: dict[str, Any]) -> None:
    """Print the gist of a run."""
    low, high = figures["accuracy_bootstrap"]
    out.print(f"{figures['right']} of {figures['cells']} cells right: {100 * figures['accuracy']:.2f} % "
              f"(95 %: {100 * low:.2f}–{100 * high:.2f}); {run / 'report.html'}", soft_wrap=True, highlight=False,
              markup=False)  # fmt: skip


@app.command()
def fit(
    out_dir: Out,
    set_: Set,
    net: Annotated[str | None, typer.Option("--net", help="As the list of docs/bench.md says.")] = None,
    weights: Weights = None,
    side: Side = None,
    epochs: Annotated[str | None, typer.Option(metavar="A,B,C", help="Frozen, last block free, all free.")] = None,
    batch: Annotated[int | None, typer.Option(help="Cells a step.")] = None,
    loss: Annotated[str | None, typer.Option(help="cross_entropy or focal.")] = None,
    views: Annotated[int | None, typer.Option(help="1, or 8 turned looks that are averaged.")] = None,
    teacher: Annotated[str | None, typer.Option(metavar="RUN", help="Distil this run, of the same set.")] = None,
    copies: Copies = None,
    folds: Folds = None,
    seed: Seed = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML; options win over it.")] = None,
) -> None:
    """Fit a network to each fold of a set: frozen, half frozen, free."""
    with answering(), progress_bars(out) as progress:
        from training.bench.datasets.cell_images import load
        from training.bench.models.settings import settings
        from training.bench.runs.fit import fit as run

        chosen = settings(config, net=net, weights=weights, side=side, epochs=numbers(epochs), batch=batch, loss=loss,
                          views=views, teacher=teacher, copies=copies, folds=numbers(folds), seed=seed)  # fmt: skip
        tell(out_dir, run(load(set_), chosen, out_dir, progress))


@app.command()
def features(
    out_dir: Out,
    set_: Set,
    net: Net,
    classifier: Annotated[Classifiers, typer.Option(help="What learns from the features.")],
    weights: Weights = "none",
    side: Side = None,
    views: Annotated[int, typer.Option(help="1, or 8 turned looks whose features are averaged.")] = 1,
    copies: Copies = None,
    folds: Folds = None,
    seed: Seed = 0,
) -> None:
    """Teach a classical learner what a frozen trunk, or shape features, make of cells.

    `--net shape` takes the measures of their masks.
    """
    with answering(), progress_bars(out) as progress:
        from training.bench.datasets.cell_images import load
        from training.bench.runs.features import FeatureSettings, features_run

        chosen = FeatureSettings(net=net, classifier=classifier.value, weights=weights or "none", side=side,
                                 views=looks(views), copies=bool(copies),
                                 folds=numbers(folds), seed=seed or 0)  # fmt: skip
        tell(out_dir, features_run(load(set_), chosen, out_dir, progress))


@app.command()
def ensemble(
    members: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Two or more runs, same set and seed.")],
    out_dir: Out,
    set_: Set,
) -> None:
    """Let finished runs vote, with weights that the validation cells of each fold give."""
    if len(members) < 2:
        raise typer.BadParameter("an ensemble needs two runs or more")
    with answering(), progress_bars(out) as progress:
        from training.bench.datasets.cell_images import load
        from training.bench.runs.ensemble import ensemble as vote

        tell(out_dir, vote(load(set_), members, out_dir, progress))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Finished runs.")],
    page: Annotated[Path | None, typer.Option(metavar="PAGE", help="HTML page to write.")] = None,
) -> None:
    """Show runs in one table, and which of them can be told apart."""
    with answering():
        from training.bench.runs.compare import compared, table
        from training.bench.runs.report import of_comparison
        from training.run_folder import write_text

        rows = compared(runs)
        out.print(table(rows), markup=False, highlight=False, soft_wrap=True)
        if page is not None:
            write_text(page, of_comparison(rows))


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(metavar="RUN|FILE.onnx", help="A finished run, or an ONNX classifier.")],
    set_: Set,
    as_: Annotated[
        list[str] | None,
        typer.Option(
            "--as", metavar="CLASS=NAME", help="A class of the model is called so in the set; may be repeated."
        ),
    ] = None,
    page: Annotated[Path | None, typer.Option(metavar="PAGE", help="JSON file of the figures to write.")] = None,
) -> None:
    """Judge a run, or an ONNX file, on any set.

    Cells that a run learnt from are left to the fold that did not.
    """
    with answering():
        import json

        from training.bench.datasets.cell_images import load
        from training.bench.runs.evaluate import judge
        from training.run_folder import write_text

        figures = judge(model, load(set_), dict(pair.split("=", 1) for pair in as_ or ()))
        tell(model, figures)
        if page is not None:
            write_text(page, json.dumps(figures, indent=1) + "\n")


@app.command()
def preview(
    set_: Set,
    page: Annotated[Path, typer.Option(metavar="PAGE", help="HTML page to write; it holds pictures of the set.")],
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML with [augmentation].")] = None,
    net: Annotated[str | None, typer.Option("--net", help="Its side, unless --side says another.")] = None,
    side: Side = None,
    cells: Annotated[int, typer.Option(min=1, max=200, help="Cells, as many of each class.")] = 12,
    times: Annotated[int, typer.Option(min=1, max=50, help="Altered looks at each.")] = 8,
    seed: Seed = None,
) -> None:
    """Show cells as they are and as a configuration alters them while a network learns."""
    with answering():
        from edge.errors import ConfigError
        from training.bench.datasets.registry import find
        from training.bench.models.networks import NETS
        from training.bench.models.settings import settings
        from training.bench.runs.describe import altered, examples
        from training.bench.runs.report import of_augmentation
        from training.run_folder import write_text

        chosen, source = settings(config, net=net, side=side, seed=seed), find(set_)
        of_each = -(-cells // len(source.classes))
        some = [s for samples in examples(source.samples, of_each).values() for s in samples][:cells]
        if chosen.net not in NETS:
            raise ConfigError(f"no network {chosen.net!r}; there are {', '.join(NETS)}")
        rows = altered(some, chosen.side or NETS[chosen.net].side, chosen.augmentation, chosen.seed, times)
        write_text(page, of_augmentation(source.name, chosen.augmentation.model_dump(), rows))
        out.print(f"{len(rows)} cells of {source.name}, {times} times altered; {page}", soft_wrap=True,
                  highlight=False, markup=False)  # fmt: skip
