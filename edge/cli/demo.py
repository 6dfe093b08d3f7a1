"""The whole service with nothing but this program: a rendered slide, the shipped models and an MQTT broker within."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from edge.camera.virtual.camera import VirtualCamera
from edge.cli.demo_broker import EmbeddedBroker
from edge.cli.live_view import RunView, show_outcome, stopped_by_signals
from edge.config.model import CameraConfig, Config, DeviceConfig, MqttConfig, ScreeningConfig, StopConfig
from edge.service.reporter import Snapshot
from edge.service.service import Service
from edge.types import RED_CELLS

ENDLESS = 1_000_000
"""Fields of the slide's path when nobody says how many: days."""

FPS = 10.0
"""Of the endless demo, which leaves the machine some time for other things."""


class Truth:
    """What the rendered slide truly showed in the fields that were read.

    Whole red cells, and the sickles of them.
    """

    def __init__(self, config: CameraConfig) -> None:
        self.red_cells = 0
        self.sickle = 0
        self._camera = VirtualCamera(config)
        self._may_repeat, self._seen = config.overlap > 0, set[tuple[int, ...]]()

    def add(self, index: int) -> None:
        """Take in a field that was read."""
        for cell in self._camera.truth(index):
            if cell.fully_visible and cell.class_name in RED_CELLS and cell.identity not in self._seen:
                if self._may_repeat:
                    self._seen.add(cell.identity)
                self.red_cells += 1
                self.sickle += cell.class_name == "sickle"


def demo_config(state_dir: Path, port: int, *, frames: int | None, seed: int) -> Config:
    """Return the configuration of the demo, which reads no file.

    A virtual slide, and the broker on `port`.
    """
    return Config(
        device=DeviceConfig(site="demo", device="virtual", state_dir=state_dir),
        camera=CameraConfig(kind="virtual", seed=seed, frames=frames or ENDLESS, fps=0.0 if frames else FPS),
        screening=ScreeningConfig(stop=StopConfig(at_target=False)),
        mqtt=MqttConfig(host=EmbeddedBroker.host, port=port, protocol="3.1.1"),
    )


def run_demo(console: Console, *, frames: int | None, port: int | None, seed: int) -> None:
    """Run until `frames` are read, or Ctrl-C.

    Then show the result and, beside it, what the slide truly showed.
    """
    with tempfile.TemporaryDirectory(prefix="sicklescope-demo-") as state, EmbeddedBroker(port) as broker:
        config = demo_config(Path(state), broker.port, frames=frames, seed=seed)
        console.print(
            "A rendered slide, no real blood. Read the messages in another terminal "
            "(package mosquitto-clients), and end with Ctrl-C:\n"
            f"  mosquitto_sub -h {broker.host} -p {broker.port} -t 'sicklescope/#' -v",
            highlight=False,
            soft_wrap=True,
        )
        truth, view = Truth(config.camera), RunView(console)

        def observe(snapshot: Snapshot) -> None:
            view(snapshot)
            if snapshot.reading.rejected is None:
                truth.add(snapshot.reading.frame_index)

        service = Service(config, sample="demo", frames=frames, observer=observe)
        with stopped_by_signals(service.stop), view:
            outcome = service.run()
        if outcome is None:
            return
        show_outcome(outcome, console)
        share = f" = {truth.sickle / truth.red_cells:.2%}" if truth.red_cells else ""
        console.print(
            f"The virtual slide's truth in the fields that were read: {truth.sickle} of {truth.red_cells} red cells "
            f"that show whole are sickles{share}.",
            highlight=False,
            soft_wrap=True,
        )
        if outcome.fault is not None:
            raise outcome.fault
