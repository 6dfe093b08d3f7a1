"""Start an image as the compose file would, and ask what its users ask: `python -m tests.container.tried ARCHIVE`.

Mosquitto and PostgreSQL are this machine's. No supervisor of containers is needed; root is.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import yaml
from psycopg.rows import dict_row

from tests.container.started import Container, Image
from tests.mosquitto import Mosquitto, free_port, wait_for
from tests.postgresql import PostgreSQL

FOLDER = Path(__file__).parents[2] / "container"
WRITABLE = {"/tmp", "/var/tmp", "/run/lock", "/var/lib/sicklescope"}  # noqa: S108
METRICS_PORT = "9464"
"""Of the collector, in the compose file and its settings; here it may be in use."""


def main(archive: Path) -> None:
    """Try everything, and print what was seen."""
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))["services"]
    with tempfile.TemporaryDirectory(prefix="sicklescope-image-") as scratch, PostgreSQL() as database:
        Path(scratch).chmod(0o755)
        image = Image(archive, Path(scratch))
        told(f"{image.tag}: archive {archive.stat().st_size / 1e6:.0f} MB, root {size_mb(image.root)} MB")
        assert services["device"]["image"] == services["collector"]["image"] == image.tag
        nothing_of_it_can_be_written_by_its_user(image)
        broker = Mosquitto(Path(scratch), *broker_settings())
        broker.start()
        try:
            with_a_sample(image, services, broker, database)
            without_a_camera(image, services, broker)
        except Exception:
            for log in sorted(image.folder.glob("containers/*/log")):
                told(f"{log.parent.name}: {log.read_text('utf-8')[-4000:]}")
            raise
        finally:
            broker.stop()
    told("all as it should be")


def nothing_of_it_can_be_written_by_its_user(image: Image) -> None:
    """Say that the program cannot change itself, also where somebody leaves out `--read-only`."""
    find = ["find", "/", "-path", "/dev", "-prune", "-o", "-writable", "!", "-type", "l", "-print"]
    found = subprocess.run(["chroot", image.root, *image.as_user(find, {})], capture_output=True, text=True)
    assert set(found.stdout.split()) == WRITABLE, found.stdout + found.stderr


def with_a_sample(image: Image, services: Mapping[str, Any], broker: Mosquitto, database: PostgreSQL) -> None:
    """Read a slide, find its result in PostgreSQL, and end both when told to."""
    port = str(free_port())
    settings = (FOLDER / "fleet.toml").read_text("utf-8").replace(METRICS_PORT, port)
    settings = settings.replace('host = "broker"', f'host = "127.0.0.1"\nport = {broker.port}')
    of_database = {"FLEET_DATABASE_URL": database.url}
    collector = Container(image, "collector", services["collector"]["command"], of_database, settings)
    device = Container(image, "device", image.config["Cmd"], environment(services, broker))
    began = time.monotonic()
    try:
        wait_for(device.healthy, 300)
        told(f"healthy after {time.monotonic() - began:.0f} s")
        assert device.ask(["id", "-u"]).stdout.strip() == "10001"
        refused = device.ask_as_root(["/usr/bin/touch", "/opt/sicklescope/new"])
        assert "Read-only file system" in refused.stderr, refused
        for command in (["doctor"], ["sample", "start", "K-1"]):
            done = device.ask(["sicklescope", *command])
            assert done.returncode == 0, done
        (row,) = wait_for(lambda: results(database), 300)  # a sample ends by itself at its aim
        told("in PostgreSQL: " + ", ".join(f"{name} {value}" for name, value in row.items()))
        assert row["sample"] == "K-1"
        assert row["red_cells"] >= 1000

        kind, *check = (word.replace(METRICS_PORT, port) for word in services["collector"]["healthcheck"]["test"])
        assert kind == "CMD"
        wait_for(lambda: collector.ask(check).returncode == 0, 60)
        broker.stop()
        wait_for(lambda: collector.ask(check).returncode == 1, 60)
        broker.start()
    finally:
        ends = [one.end(45) for one in (device, collector)]
    assert ends == [0, 0], ends


def without_a_camera(image: Image, services: Mapping[str, Any], broker: Mosquitto) -> None:
    """Say that a device that cannot read a slide keeps running, and is not healthy."""
    settings = {**environment(services, broker), "SICKLESCOPE_CAMERA__KIND": "opencv"}
    device = Container(image, "device", image.config["Cmd"], settings)
    try:
        wait_for(lambda: "fault" in device.status(), 300)
        assert not device.healthy()
        told("without a camera it runs and is unhealthy")
    finally:
        device.end(45)


def environment(services: Mapping[str, Any], broker: Mosquitto) -> dict[str, str]:
    """Return the device's settings of the compose file, with this machine's broker."""
    own = {"SICKLESCOPE_MQTT__HOST": "127.0.0.1", "SICKLESCOPE_MQTT__PORT": str(broker.port)}
    return {**services["device"]["environment"], **own}


def broker_settings() -> list[str]:
    """Return the lines of the compose file's broker, without its address and its folder."""
    lines = (FOLDER / "mosquitto.conf").read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith(("allow_", "max_", "autosave_"))]


def results(database: PostgreSQL) -> list[dict[str, Any]]:
    """Return the device's samples that the collector wrote."""
    with psycopg.connect(database.url, row_factory=dict_row) as connection:
        return connection.execute("SELECT sample, stage, red_cells, sickle, fields_read FROM samples").fetchall()


def size_mb(folder: Path) -> int:
    """Return the size on disk."""
    done = subprocess.run(["du", "-sm", folder], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[0])


def told(what: object) -> None:
    """Print what was seen."""
    print(what, flush=True)


if __name__ == "__main__":
    if os.getuid() != 0:
        sys.exit("tests.container.tried: only root can make such mounts: sudo make test-image")
    if len(sys.argv) != 2:
        sys.exit(f"tests.container.tried: one archive is expected, {len(sys.argv) - 1} are there: {sys.argv[1:]}")
    main(Path(sys.argv[1]))
