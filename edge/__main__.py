"""Where the `sicklescope` command begins, and `python -m edge`."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command; Ctrl-C while its parts are still being imported just ends the program."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from edge.cli.main import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
