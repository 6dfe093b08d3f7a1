"""The `sicklescope-train` command: how the shipped models were made, and how good they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.runtime.contract import SHIPPED_DIR
from edge.system.console import out
from edge.system.progress_bars import progress_bars
from training.answering import answering
from training.answers_cli import app as answers
from training.bench.cli import app as bench
from training.run_folder import RunDir, write_text

app = typer.Typer(
    help="Train the networks of sicklescope from SICKLESCOPE_DATA, and measure them. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(bench, name="bench")
app.add_typer(answers, name="answers")

Out = Annotated[
    Path, typer.Option("--out", metavar="RUN_DIR", help="Folder of the run; files there are not made again.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed on the same machine gives the same weights.")]
Steps = typer.Option(min=4, help="Steps of the optimiser.")
StepsRounded = typer.Option(min=0, help="Last steps, which teach to bear INT8; 0 leaves them out.")


@app.command()
def detector(
    out_dir: Out,
    steps_base: Annotated[int, Steps] = 4000,
    steps_fold: Annotated[int, Steps] = 900,
    steps: Annotated[int, Steps] = 900,
    steps_rounded: Annotated[int, StepsRounded] = 700,
    seed: Seed = 0,
    leave_out: Annotated[list[str] | None, typer.Option(metavar="SET", help="See nothing of this set.")] = None,
) -> None:
    """Train the detectors: the base, one without each of the folds, and the shipped one.

    A set that is left out is absent from everything that the run does after this.
    """
    with answering(), progress_bars(out) as progress:
        from training.data.datasets import data_root
        from training.fit.recipe import DetectorSteps, train_detectors

        train_detectors(RunDir(out_dir), data_root(), DetectorSteps(steps_base, steps_fold, steps, steps_rounded), seed,
                        progress, tuple(sorted(leave_out or ())))  # fmt: skip


@app.command()
def classifier(
    out_dir: Out,
    steps_fold: Annotated[int, Steps] = 2100,
    steps: Annotated[int, Steps] = 2100,
    steps_last: Annotated[int, Steps] = 1600,
    steps_rounded: Annotated[int, StepsRounded] = 600,
    seed: Seed = 10,
) -> None:
    """Train the classifiers: one without each of the folds, and the shipped one.

    After `detector`.
    """
    with answering(), progress_bars(out) as progress:
        from training.data.datasets import data_root
        from training.fit.recipe import ClassifierSteps, train_classifiers

        train_classifiers(RunDir(out_dir), data_root(), ClassifierSteps(steps_fold, steps, steps_last, steps_rounded),
                          seed, progress)  # fmt: skip


@app.command()
def evaluate(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a finished training run.")],
    target: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Rate of false calls to choose thresholds for.")
    ] = 0.001,
    fields: Annotated[int | None, typer.Option(min=1, help="At most so many of each set, fold and label.")] = None,
    transfer: Annotated[bool, typer.Option(help="Read the changed fields too.")] = True,
    look: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="Look at erythrocytes_idb1 as well, and log it on this page.")
    ] = None,
) -> None:
    """Measure a run out of fold.

    Write evaluation.json and .md, and what `sicklescope-export onnx` reads.
    """
    if look is not None and fields is not None:
        raise typer.BadParameter("a look is for the frozen threshold, which is chosen on all fields; drop --fields")
    with answering():
        from training.data.datasets import data_root
        from training.evaluate.estimates import SHIPPED
        from training.evaluate.holdout import held_out_evaluation, log_evaluation
        from training.evaluate.report import markdown
        from training.evaluate.run import evaluate as measure
        from training.evaluate.run import write_evaluation

        run = RunDir(run_dir)
        with progress_bars(out) as progress:
            evaluation = measure(run, data_root(), target, fields, transfer, progress)
            if look is not None:
                evaluation.figures["look"] = held_out_evaluation(
                    run, data_root(), evaluation.thresholds[SHIPPED], progress
                )
                log_evaluation(look, evaluation.thresholds[SHIPPED], evaluation.figures["look"])
        path = write_evaluation(evaluation, run, target)
        page = markdown(path)
        write_text(run.path / "evaluation.md", page)
        out.print(page, markup=False, highlight=False, soft_wrap=True)
        out.print(f"{path}; release: {run.release}")


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run that was measured.")],
    page: Annotated[Path, typer.Option(metavar="PAGE", help="Markdown file to write.")],
) -> None:
    """Write the page of figures from what `evaluate` measured."""
    with answering():
        from training.evaluate.report import markdown

        write_text(page, markdown(RunDir(run_dir).path / "evaluation.json"))
        out.print(f"{page} written")


Models = Annotated[Path, typer.Option("--models", metavar="DIR", help="Folder of detector and classifier files.")]
Form = Annotated[str, typer.Option(help="Form of the files: fp32, or what a processor runs, int8.cpu.")]
Workers = Annotated[int, typer.Option(min=1, help="Fields read at a time.")]


@app.command("left-out")
def left_out_command(
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of readings and figures.")],
    models: Models = SHIPPED_DIR,
    form: Form = "int8.cpu",
    sets: Annotated[list[str] | None, typer.Option("--set", help="Sets to read; else all.")] = None,
    half: Annotated[
        str, typer.Option(help="Half of the fields: choose, judge (is logged), or all (is logged).")
    ] = "choose",
    log: Annotated[Path | None, typer.Option(metavar="PAGE", help="Page that the look is logged on.")] = None,
    fields: Annotated[int | None, typer.Option(min=1, help="At most so many of each set.")] = None,
    forms: Annotated[
        bool, typer.Option(help="Read some fields in other forms too: decoder, JPEG, shift, zoom.")
    ] = False,
    workers: Workers = 2,
) -> None:
    """Read sets that a pair never saw, and print what it calls, abstains from and refuses there."""
    from training.data.sets import SETS
    from training.evaluate.unseen.left_out import HALVES, Looked, left_out, log_look, markdown, pair_in, robust

    names = sets or list(SETS)
    if unknown := [name for name in names if name not in SETS]:
        raise typer.BadParameter(f"no set {', '.join(unknown)}; known: {', '.join(SETS)}")
    if half not in HALVES:
        raise typer.BadParameter(f"no half {half!r}; expected one of {', '.join(HALVES)}")
    if half != "choose" and log is None:
        raise typer.BadParameter("a look at the half that judges is logged: name the page with --log")
    with answering(), progress_bars(out) as progress:
        from training.data.datasets import data_root

        pair = pair_in(models, form)
        looked = Looked(half, out_dir / half, fields, workers, progress)
        figures = left_out(pair, data_root(), names, looked)
        if forms:
            figures["other forms of the same pictures"] = robust(pair, data_root(), looked)
        write_text(out_dir / f"left-out-{half}.md", markdown(figures))
        if log is not None:
            log_look(log, pair, names, half, figures)
    out.print(markdown(figures), markup=False, highlight=False, soft_wrap=True)


@app.command("freeze-reference")
def freeze_reference(
    out_dir: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of readings.")],
    models: Models = SHIPPED_DIR,
    form: Form = "int8.cpu",
    workers: Workers = 2,
) -> None:
    """Count red cells and choose places for pasted cells anew.

    Figures of `left-out` do not compare with earlier ones then.
    """
    with answering(), progress_bars(out) as progress:
        from training.data.datasets import data_root
        from training.evaluate.unseen.left_out import Looked, frozen, pair_in

        frozen(pair_in(models, form), data_root(), Looked("all", out_dir, None, workers, progress))


@app.command("gate-list")
def gate_list_command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="JSON lines to write.")],
    choose: Annotated[int, typer.Option(min=0, max=3, help="Fold that thresholds are chosen on.")] = 2,
    measure: Annotated[int, typer.Option(min=0, max=3, help="Fold that figures are measured on.")] = 3,
) -> None:
    """Write the labelled pictures that `sicklescope-calibrate int8` measures an INT8 network on."""
    with answering():
        from training.data.datasets import data_root
        from training.data.gate_list import gate_list

        write_text(output, gate_list(data_root(), choose, measure))
        out.print(f"{output} written", markup=False, highlight=False, soft_wrap=True)


@app.command()
def data(
    set_: Annotated[str, typer.Argument(metavar="NAME|DIR", help="A set of SICKLESCOPE_DATA, or a folder.")],
    page: Annotated[Path, typer.Option(metavar="PAGE", help="HTML page to write; it holds pictures of the set.")],
    layout: Annotated[str | None, typer.Option(metavar="NAME", help="The folder is laid out as this set is.")] = None,
) -> None:
    """Describe a set of labelled cells on one page.

    Counts, sizes, pictures, near-duplicates and leaks.
    """
    with answering():
        from training.bench.datasets.registry import find
        from training.bench.runs.describe import describe, examples
        from training.bench.runs.report import of_set

        source = find(set_, layout)
        found = describe(source)
        write_text(page, of_set(found, examples(source.samples)))
        out.print(f"{found['cells']} cells in {found['pictures']} pictures of {len(found['groups'])} groups, "
                  f"{len(found['twins'])} near-duplicates, {found['leaks']} of them leaks; {page}", soft_wrap=True,
                  highlight=False, markup=False)  # fmt: skip


def main() -> None:
    """Run the command."""
    app()
