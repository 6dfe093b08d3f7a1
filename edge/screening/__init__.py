"""From classified cells to a result: tally, verdict, and the files of an offline scan."""
