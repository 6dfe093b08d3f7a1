"""A device that loses its power in mid-sample: `python onward.py STATE PORT FRAME BOOT` until SIGTERM.

Its slide lies at FRAME when it starts, and the machine has the boot identifier BOOT. It says `kept FRAMES` whenever it
was told that so many frames of its sample are on the disk. Networks and camera are drawn (drawn.py); all else is as it
ships.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Wait for what is asked by the API, as the service does under systemd."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    state, port, frame, boot = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    from edge.system import clock

    clock.boot_id = lambda: boot  # type: ignore[assignment]  # before anything takes it from there
    import edge.service.service
    from edge.config.model import QualityConfig, ScreeningConfig
    from edge.pipeline import Pipeline
    from edge.sample.lifecycle import Lifecycle
    from tests.edge.service.service_parts import configured
    from tests.faults.drawn import Slide, pipeline_class

    class Placed(Slide):
        def read(self) -> Any:
            time.sleep(0.003)
            return super().read()

    slide = Placed()
    slide.index = frame
    config = configured(state, port)
    screening = ScreeningConfig.model_validate({"store_interval_s": 0.02, "stop": {"at_target": False}})
    config = config.model_copy(update={"quality": QualityConfig(gate=False), "screening": screening})
    save = Lifecycle.save

    def telling(lifecycle: Lifecycle, sample: Any, record: Any, news: Any) -> Any:
        saved = save(lifecycle, sample, record, news)
        if not lifecycle.database._depth:  # as a part of something larger nothing is kept yet
            print("kept", record.frames, flush=True)
        return saved

    Lifecycle.save = telling  # type: ignore[method-assign,assignment]
    vars(edge.service.service)["Pipeline"] = pipeline_class(Pipeline(config))
    vars(edge.service.service)["open_camera"] = lambda *_: slide
    service = edge.service.service.Service(config)
    signal.signal(signal.SIGTERM, lambda *_: service.stop())
    service.run()


if __name__ == "__main__":
    main()
