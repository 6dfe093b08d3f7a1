"""`sicklescope-train answers`: show what networks found, and keep what a reviewer saw there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.system.console import out
from training.answering import answering

app = typer.Typer(help="Answers by eye on what is a blood cell and what is none.", no_args_is_help=True)


@app.command()
def sheet(
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the sheets; they show pictures.")],
    set_: Annotated[str, typer.Option("--set", help="Set that was read.")],
    readings: Annotated[Path, typer.Option(metavar="FILE", help="What `left-out` or `evaluate` read of it.")],
    sickle: Annotated[float, typer.Option(min=0, max=1, help="Sickle threshold of the pair that read it.")],
    calls: Annotated[int, typer.Option(min=0, help="Cells called sickle.")] = 20,
    abstained: Annotated[int, typer.Option(min=0, help="Cells without a name.")] = 20,
    faint: Annotated[int, typer.Option(min=0, help="Other red cells of a low score.")] = 20,
    others: Annotated[int, typer.Option(min=0, help="Other red cells.")] = 20,
    per_sheet: Annotated[int, typer.Option(min=1, help="Places on a sheet.")] = 80,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 0,
) -> None:
    """Draw contact sheets of places that have no answer yet."""
    with answering():
        from training.data.answers import FILE, answers
        from training.data.datasets import DataError, data_root
        from training.data.sets import SETS, read_set
        from training.evaluate.unseen.answer_sheets import KINDS, chosen, readings_in, write_sheets

        if set_ not in SETS:
            raise DataError(f"no set {set_!r}; known: {', '.join(SETS)}")
        fields = read_set(data_root(), set_)
        counts = dict(zip(KINDS, (calls, abstained, faint, others), strict=True))
        places = chosen(fields, readings_in(readings), sickle, counts, answers() if FILE.is_file() else {}, seed)
        for path in write_sheets(places, fields, folder, per_sheet):
            out.print(f"{path}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def keep(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="The .json beside a sheet.")],
    said: Annotated[str, typer.Argument(metavar="ANSWERS", help="Such as `none 1 4-6; open 9`.")],
    rest: Annotated[str, typer.Option(help="Answer of all other places of the sheet; empty for none.")] = "",
) -> None:
    """Keep what a reviewer saw on a sheet.

    none: no blood cell. white: of a white cell or platelet. cell: a red cell. open: not to be decided.
    """
    with answering():
        from training.data.answers import FILE, keep, numbers, read_index

        places = read_index(index)
        given = dict.fromkeys(range(1, len(places) + 1), rest) if rest else {}
        out.print(f"{FILE} holds {keep(places, given | numbers(said))} answers", soft_wrap=True, highlight=False)
