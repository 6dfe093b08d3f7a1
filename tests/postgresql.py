"""A real PostgreSQL on a free loopback port, which can be stopped, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from tests.mosquitto import free_port, wait_for

_FOUND = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
BIN = _FOUND[-1] if _FOUND else None


class PostgreSQL:
    """The server; it runs as `postgres` where the tests run as root, for it refuses to run as root."""

    def __init__(self) -> None:
        assert BIN is not None
        self.port = free_port()
        # Not below pytest's own folder: each run of pytest closes that to other users.
        self._folder = Path(tempfile.mkdtemp(prefix="sicklescope-postgresql-"))
        self._data, self._log = self._folder / "data", self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._data.mkdir()
        self._user: str | None = None
        if os.getuid() == 0:
            self._user = "postgres"
            self._folder.chmod(0o755)
            shutil.chown(self._data, self._user)
        self._run(
            "initdb", "-D", str(self._data), "-U", "fleet", "-A", "trust", "--no-locale", "-E", "UTF8", "--no-sync"
        )

    def __enter__(self) -> PostgreSQL:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *words: str) -> None:
        assert BIN is not None
        done = subprocess.run([str(BIN / program), *words], user=self._user, capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stderr

    @property
    def url(self) -> str:
        return self.url_of("fleet")

    def url_of(self, user: str) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        assert BIN is not None
        command = [str(BIN / "postgres"), "-D", str(self._data), "-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        command += ["-c", "fsync=off"]  # a killed process loses nothing by it, only a machine without power
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, user=self._user, stdout=log, stderr=log, cwd="/")
        wait_for(self._answers, 30)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT is the fast shutdown, SIGQUIT the one without a checkpoint."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None
