"""What this machine has, and what of it the configuration needs and does not find."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Literal

from edge.camera.opencv import present_devices
from edge.camera.registry import CAMERAS, open_camera
from edge.config.model import Config, MqttConfig, WebConfig
from edge.diagnosis import gpu as doctor_gpu
from edge.errors import EdgeError, StorageError
from edge.publish.broker_check import check_broker
from edge.publish.composer import Composer
from edge.publish.message_base import topic
from edge.publish.result_messages import Result
from edge.runtime.base import Source
from edge.runtime.contract import ROLES, SHIPPED_DIR, Role
from edge.runtime.model_store import located
from edge.runtime.onnx import OnnxNetwork
from edge.runtime.registry import RUNTIMES, chosen, digests, shipped_form
from edge.runtime.trial import tried
from edge.sample.controls import ControlSlides
from edge.sample.integrity import record_of_row
from edge.sample.store import Store
from edge.storage.database import Database, database_path, is_older
from edge.storage.result_numbers import ResultNumbers
from edge.system.clock import clock_synchronised
from edge.system.health import existing, free_mb
from edge.system.tls import DAY_S, ENDS_SOON_DAYS, certificate_at, earliest_s, own_certificate
from edge.vision.optics_calibration import misfits, read_calibration, utc_now

BROKER_TIMEOUT_S = 3.0

DISK_NEEDED_MB = 50.0
"""Below this the outbox, and the database beside it, may soon find no room."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table.

    `missing` when the configuration needs it and it is absent, `unknown` when nobody can tell.

    `warning`: it is there, and every result will carry a flag for it.
    """

    what: str
    state: Literal["ok", "missing", "absent", "unknown", "warning"]
    text: str

    @property
    def missing(self) -> bool:
        """Whether the service cannot work as configured for want of this."""
        return self.state == "missing"


def examine(config: Config, held: Callable[[], str] | None = None) -> list[Finding]:
    """Look at everything.

    Changes nothing: a database of an older version is left to that, for the upgrade may not be taken. But it connects
    to the broker once, under a name of its own, and sends it two messages.

    Args:
        config: of the device.
        held: says how the configured camera is, where a running service holds it; else it is opened.
    """
    return [
        Finding("machine", "ok", f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"),
        *_cameras(config, held or (lambda: _opened(config))),
        _optics(config),
        *_runtimes(config),
        *_system_packages(),
        *_models(config),
        _broker(config),
        certificate_finding(config.mqtt, time.time()),
        page_certificate_finding(config.web, time.time()),
        _controls(config),
        _picture(config),
        _clock(),
        _disk(config),
    ]


def _tried(what: str, attempt: Callable[[], str]) -> Finding:
    """Return what `attempt` says, or that it is missing and why."""
    try:
        return Finding(what, "ok", attempt())
    except EdgeError as error:
        return Finding(what, "missing", str(error))


def _cameras(config: Config, attempt: Callable[[], str]) -> Iterator[Finding]:
    devices = present_devices()
    yield Finding("camera devices", "ok" if devices else "absent", ", ".join(devices) or "no /dev/video*")
    for needs, found in {row.needs: row.found for row in CAMERAS.values()}.items():
        yield _wanted(needs, found, needs == CAMERAS[config.camera.kind].needs)
    yield _tried("configured camera", attempt)


def _opened(config: Config) -> str:
    with open_camera(config.camera) as camera:
        return camera.name


def _optics(config: Config) -> Finding:
    what, path = "optics calibration", config.optics.calibration
    if path is None:
        return Finding(what, "absent", "none is configured (optics.calibration); make one with sicklescope-calibrate")
    try:
        calibration = read_calibration(path)
    except EdgeError as error:
        return Finding(what, "missing", str(error))
    found = [misfit.text for misfit in misfits(calibration, config, utc_now())]
    asked, made = config.camera, calibration.camera
    if (asked.width or made.width, asked.height or made.height) != (made.width, made.height):
        found += [f"it is of frames {made.width}x{made.height}; asked of the camera is {asked.width}x{asked.height}"]
    return Finding(what, "warning" if found else "ok", "; ".join([calibration.in_words(), *found]))


def _runtimes(config: Config) -> Iterator[Finding]:
    models = config.models
    # TensorRT needs ONNX Runtime too: engines are compared with it.
    yield from (_tried(*part) for part in RUNTIMES["onnxruntime"].needs.items())
    jetson = doctor_gpu.jetpack()
    wanted = models.runtime == "tensorrt"
    if jetson is None:
        yield Finding("Jetson", "absent", "not a Jetson")
    else:
        yield Finding("Jetson", "ok" if jetson[0] else "missing" if wanted else "absent", jetson[1])
    for what, known in (
        ("CUDA toolkit", doctor_gpu.cuda_toolkit()),
        ("NVIDIA driver", doctor_gpu.nvidia_driver()),
    ):
        yield Finding(what, "ok" if known else "absent", known or "none found")
    for what, found in RUNTIMES["tensorrt"].needs.items():
        here = partial(doctor_gpu.on_jetson, found) if jetson is not None and what == "runtime tensorrt" else found
        yield _wanted(what, here, wanted)


def _wanted(what: str, attempt: Callable[[], str], wanted: bool) -> Finding:
    """Return what `attempt` says; a failure is `missing` only where the configuration names it."""
    found = _tried(what, attempt)
    return found if wanted or not found.missing else Finding(what, "absent", found.text)


def _system_packages() -> Iterator[Finding]:
    """Tell of a numpy that hides the system's, for which the system's picamera2, cv2 and TensorRT were built."""
    if Path(sys.prefix) != Path(sys.base_prefix) and doctor_gpu.sees_system_packages():
        yield numpy_finding(Path(sys.prefix), sys.path)


def numpy_finding(environment: Path, paths: list[str]) -> Finding:
    """Compare the numpy of a virtual environment with that of the system, both found on `paths`."""
    ours, systems = (
        next((found.version for found in distributions(name="numpy", path=folders)), None)
        for folders in (
            [path for path in paths if Path(path).is_relative_to(environment)],
            [path for path in paths if not Path(path).is_relative_to(environment)],
        )
    )
    what = "system packages"
    if ours is None or systems is None:
        return Finding(what, "ok", f"one numpy, {ours or systems or 'which is missing'}")
    if ours.split(".")[0] == systems.split(".")[0]:
        return Finding(what, "ok", f"numpy {ours} here, {systems} of the system: of the same kind")
    return Finding(
        what, "warning", f"numpy {ours} of this environment hides the system's {systems}, for which its picamera2, cv2 "
        f"and TensorRT were built: if one fails to import, install \"numpy<{int(systems.split('.')[0]) + 1}\" here",
    )  # fmt: skip


def _models(config: Config) -> Iterator[Finding]:
    for role in ROLES:
        yield _tried(f"model {role}", partial(_loaded, role, config))


def _loaded(role: Role, config: Config) -> str:
    """Read the model file, without building its engine, which takes minutes and is the service's to do."""
    runtime = chosen(config.models)
    form = shipped_form(role, runtime, config.models.precision)
    path, sha256 = located(role, config.models, config.device.state_dir, form)
    if path.parent != SHIPPED_DIR:
        tried(path)
    network = OnnxNetwork(Source(role, path, sha256, config.models))
    try:
        contract = network.contract
        name = f"{contract.name} {contract.version}, {contract.precision}"
        text = f"{name}, sha256 {network.sha256[:12]}… as pinned, run by {runtime}"
        # It is not known then whether the slide is one that the model can judge, and no result can say.
        blind = role == "classifier" and not contract.tells_novelty
        return f"{text}; cannot refuse what is unlike its training" if blind else text
    finally:
        network.close()


def _broker(config: Config) -> Finding:
    if not config.mqtt.enabled:
        return Finding("MQTT broker", "absent", "mqtt.enabled is false")
    finding = _tried("MQTT broker", lambda: check_broker(config.mqtt, BROKER_TIMEOUT_S, broker_messages(config)))
    dotted = [name for name in (config.device.site, config.device.device) if "." in name]
    if dotted:
        warning = f"{' and '.join(dotted)} has a dot, which RabbitMQ turns into a level of the topic: docs/brokers.md"
        finding = replace(finding, text=f"{finding.text}. {warning}")
    return finding


def certificate_finding(mqtt: MqttConfig, now_s: float) -> Finding:
    """Say how long the device's certificate for the broker holds.

    now_s: the clock, seconds since 1970 UTC.
    """
    own = own_certificate(mqtt)
    if own is None:
        return Finding("certificate", "absent", "this device has none for the broker (mqtt.cert_file)")
    if now_s < earliest_s(own):
        text = "the clock is wrong: the broker's certificate is checked against a time that has surely passed"
        return Finding("certificate", "warning", f"{text} (docs/keys.md)")
    return Finding("certificate", _state_until(own.ends_s, now_s), own.in_words(now_s))


def page_certificate_finding(web: WebConfig, now_s: float) -> Finding:
    """Say how long the certificate of the operator's page holds; see `certificate_finding`."""
    own = certificate_at(web.certificate)
    if web.host is None or own is None:
        return Finding("page certificate", "absent", "the page is for this device alone, or web.certificate is no file")
    state = _state_until(own.ends_s, now_s)
    verb, then = ("ends", "") if own.ends_s >= now_s else ("ended", ": browsers warn of the page, or refuse it")
    advice = "" if state == "ok" else ". Put another pair in its place and restart the service; phones accept it anew"
    return Finding(
        "page certificate", "warning" if state == "missing" else state, f"it {verb} on {own.day}{then}{advice}"
    )


def _state_until(ends_s: float, now_s: float) -> Literal["ok", "missing", "warning"]:
    days = (ends_s - now_s) / DAY_S
    return "missing" if days < 0 else "warning" if days < ENDS_SOON_DAYS else "ok"


def broker_messages(config: Config) -> list[tuple[str, str]]:
    """Return what is sent to try the broker: an event, and the newest result once more.

    A result may come twice; one that is none must not be made up.
    """
    compose = Composer(config.device)
    event = compose.event("info", "doctor", "`sicklescope doctor` tries whether the broker takes messages")
    messages = [(topic(event, compose.site, compose.device), event.to_json())]
    path = database_path(config)
    # A database that cannot be read is named in the row of the control slides.
    with suppress(StorageError):
        if path.exists() and not is_older(path):
            with Database(path, checked=False) as database:
                newest = ResultNumbers(database).newest()
            if newest is not None:
                messages.append((topic(Result, compose.site, compose.device), compose.dated(newest)[0]))
    return messages


def _controls(config: Config) -> Finding:
    what, path = "control slides", database_path(config)
    if config.control.enforce == "off":
        return Finding(what, "absent", "control.enforce is off: results say nothing of control slides")
    if not path.exists():
        return Finding(what, "warning", "none was read yet. Begin with: sicklescope control add NAME --sickle FRACTION")
    if is_older(path):
        # Before an upgrade is decided: the version that may go on could not read what this one makes of it.
        return Finding(what, "unknown", "the database is of an older version; read from the first start of this one on")
    try:
        with Database(path) as database:
            networks = digests(config.models, config.device.state_dir)
            found = ControlSlides(database).standing(config.control, networks)
    except EdgeError as error:
        return Finding(what, "missing", str(error))
    return Finding(what, "warning" if found else "ok", "; ".join(found.values()) or "in order")


def _picture(config: Config) -> Finding:
    """Tell of dirt in the optics that the newest sample showed."""
    what, path = "picture", database_path(config)
    try:
        with Database(path) if path.exists() and not is_older(path) else nullcontext() as database:
            newest = Store(database).newest(1) if database else []
            if not newest:
                return Finding(what, "unknown", "no sample was read yet, which would show dirt in the optics")
            masked = record_of_row(newest[0]).masked
    except EdgeError as error:
        return Finding(what, "unknown", str(error))
    if masked is None:
        return Finding(what, "ok", f"no dirt was found in it while sample {newest[0].code} was read")
    return Finding(what, "warning", f"{masked.in_words} (sample {newest[0].code}, {newest[0].day})")


def _clock() -> Finding:
    if clock_synchronised():
        return Finding("clock", "ok", "synchronised")
    return Finding("clock", "unknown", "not known to be synchronised; messages say so (clock_synchronised)")


def _disk(config: Config) -> Finding:
    folder = config.device.state_dir
    present, free = existing(folder), free_mb(folder)
    text = f"{free:,.0f} MB free for {folder}"
    if free < DISK_NEEDED_MB:
        return Finding("disk", "missing", f"{text}; at least {DISK_NEEDED_MB:.0f} MB needed")
    return Finding("disk", "ok", text) if _writable(present) else Finding("disk", "missing", f"{present} is read-only")


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)
