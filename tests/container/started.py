"""An image's root folder, started without a supervisor of containers.

Mounts and processes are its own; the network is this machine's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONTAIN = Path(__file__).with_name("contain.sh")


class Image:
    """What an archive holds: one layer, unpacked as `root`, and the configuration."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        subprocess.run(["tar", "-C", folder, "-xf", archive], check=True)
        (manifest,) = json.loads((folder / "manifest.json").read_text("utf-8"))
        (layer,) = manifest["Layers"]
        subprocess.run(["tar", "-C", self.root, "--numeric-owner", "-xpf", folder / layer], check=True)
        (self.tag,) = manifest["RepoTags"]
        self.config: Mapping[str, Any] = json.loads((folder / manifest["Config"]).read_text("utf-8"))["config"]
        self.user, self.group = (int(number) for number in self.config["User"].split(":"))
        kind, *words = self.config["Healthcheck"]["Test"]
        self.health_check = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words

    def as_user(self, words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        """Return what runs `words` within the root as the image's user, without capabilities."""
        own = [f"{name}={value}" for name, value in environment.items()]
        return [
            *("/usr/bin/setpriv", f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups"),
            *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
            *("/usr/bin/env", "-i", f"--chdir={self.config['WorkingDir']}", *self.config["Env"], *own, *words),
        ]


class Container:
    """A command in the root of an image, as the first process of its namespaces."""

    def __init__(
        self, image: Image, name: str, words: Sequence[str], environment: Mapping[str, str], settings: str = ""
    ) -> None:
        """Start `words`; `settings` becomes fleet.toml. What a container of that name has stored is there again."""
        self._image, self._environment = image, environment
        place = image.folder / "containers" / name
        for folder in (place / "state", place / "settings"):
            folder.mkdir(parents=True, exist_ok=True)
        os.chown(place / "state", image.user, image.group)
        (place / "settings/fleet.toml").write_text(settings, "utf-8")
        self.log = place / "log"
        folders = [str(one) for one in (CONTAIN, image.root, place / "state", place / "settings")]
        with self.log.open("ab") as log:
            unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
            command = [*unshare, *folders, *image.as_user(words, environment)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def ask(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run one more command in it, as its user."""
        return self.ask_as_root(self._image.as_user(words, self._environment))

    def healthy(self) -> bool:
        """Say whether the image's health check passes."""
        return self.ask(self._image.health_check).returncode == 0

    def status(self) -> str:
        """Return what `sicklescope status` prints."""
        return self.ask(["sicklescope", "status"]).stdout

    def ask_as_root(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run one more command in it, with every right."""
        enter = ["nsenter", f"--target={self._first}", "--mount", "--pid", "--root", "--wd"]
        return subprocess.run([*enter, *words], capture_output=True, text=True, timeout=120)

    def end(self, timeout_s: float) -> int:
        """Send SIGTERM to its first process and return the exit status."""
        if self._process.poll() is None:
            os.kill(int(self._first), signal.SIGTERM)
        return self._process.wait(timeout_s)

    @property
    def _first(self) -> str:
        assert self._process.poll() is None, f"it has ended: {self.log.read_text('utf-8')}"
        return Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().strip()
