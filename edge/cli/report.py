"""`sicklescope report`: one page from the results of earlier scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge.system.console import answering


def report(
    found: Annotated[
        Path, typer.Option("--from", metavar="RESULTS", help="Folder of one or many scans, or a fields.parquet.")
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE.html", help="Where the page goes.")],
    code: Annotated[
        str, typer.Option("--language", metavar="CODE", help="Of the report of one scan: en, fr, pt, sw.")
    ] = "en",
) -> None:
    """Write one page from the results of scans: of one its report, of many a line for each."""
    with answering():
        from edge.batch.archive_report import report_of_results
        from edge.batch.report import report_of_scan
        from edge.batch.results import find_results
        from edge.language.languages import asked
        from edge.report.archive import render_archive
        from edge.report.page import render
        from edge.sample.export import write_text

        results = find_results(found)
        if len(results) == 1:
            page = render(report_of_scan(results[0].summary, None, results[0].fields(), None, asked(code)))
        else:
            page = render_archive(report_of_results(found.resolve().name, results))
        write_text(file, page)
        typer.echo(f"{len(results)} results: {file}" if len(results) > 1 else f"{file}")
