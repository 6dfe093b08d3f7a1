"""A run: camera thread, MQTT thread, and this one, which reads frames.

It waits for samples to be started, or reads one and ends. Of whatever is read the result is in the outbox, on the
disk, before anything of it is sent.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial

from edge.api.authentication import Authenticator
from edge.api.device import Device, Level
from edge.api.mqtt import RemoteCommands
from edge.camera.base import Camera
from edge.camera.capture_thread import Mailbox, Notice, capturing
from edge.camera.registry import open_camera
from edge.config.model import Config
from edge.errors import ConfigError, EdgeError, LockedError, SampleError
from edge.pipeline import Pipeline
from edge.publish.composer import Composer
from edge.publish.connection import Listen
from edge.publish.message_base import ROOT
from edge.publish.messages import Birth
from edge.publish.publisher import Publisher, Resent
from edge.publish.publisher import resend as send_again
from edge.sample.codes import new_sample_code, sample_code
from edge.sample.command_queue import CommandQueue
from edge.sample.handlers import STOPPED
from edge.sample.lifecycle import Lifecycle
from edge.sample.session import SessionFactory
from edge.service.build_status import build_status
from edge.service.home_assistant import announced
from edge.service.model_bundles import ModelBundles
from edge.service.outcome import Outcome, fate_of
from edge.service.reporter import Reporter, Snapshot
from edge.service.sample_loop import SampleLoop
from edge.storage.database import Database, database_path
from edge.storage.outbox import Outbox
from edge.system.lock import exclusive
from edge.system.systemd import Heartbeat

log = logging.getLogger(__name__)

POLL_S = 0.1
"""How often a wait for a frame looks whether the run is to stop."""

CAPTURE_S = 5.0
"""So much longer than its own deadline may a camera be silent before systemd hears no more of the service."""

SENDER_S = 30.0
"""How long the sender may be silent: longer than a disk that is busy holds it."""

ACKNOWLEDGE_S = 5.0
"""How long the end of a run waits for the broker to take the result."""

UNLOCK_S = 30.0
"""How long the end of a run waits for another program to let the database go."""

ENDED = "the camera's pictures ended before its target"
FRAMES = "as many frames as were asked for were read"


class Service:
    """One run.

    With a sample or a number of frames, or `screening.start = "at_once"`, it reads one sample and ends. Else it waits
    for `commands`, and ends when stopped, or with its camera.
    """

    def __init__(
        self,
        config: Config,
        sample: str | None = None,
        frames: int | None = None,
        observer: Callable[[Snapshot], None] = lambda _: None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        self.config = config
        self._heartbeat = heartbeat or Heartbeat()
        self.commands = CommandQueue()
        self.sample: str | None = None
        if sample is not None:
            self.sample = sample_code(sample, config.screening.sample_pattern)
        elif frames is not None or config.screening.start == "at_once":
            self.sample = new_sample_code()
        self._frames = frames
        self._observer = observer
        self._stopping = self._switching = False
        self._bundles = ModelBundles(config)

    def stop(self) -> None:
        """Ask the run to end after the frame at hand; without a lock, for signal handlers."""
        self._stopping = True

    def run(self) -> Outcome | None:
        """Read until the end, and return what came of the last sample, or None when there was none.

        Raises ModelError, CameraError, InputError, StorageError or ConfigError when it cannot begin, and StorageError
        when a result cannot be kept. What fails later, such as the camera, ends the run: see Outcome.fault; without a
        sample it is raised.
        """
        while True:
            outcome = self._run()
            if not self._switching or self._stopping:
                return outcome
            self._bundles.switch()
            self._switching, self.commands = False, CommandQueue()

    def _run(self) -> Outcome | None:
        """Read until the end, or until other models are to be loaded."""
        config, composer = self.config, Composer(self.config.device)
        with ExitStack() as stack:
            stack.enter_context(exclusive(config.device.state_dir))
            database = stack.enter_context(Database(database_path(config)))
            outbox = Outbox(database)
            pipeline = stack.enter_context(self._pipeline(composer, outbox))
            camera = open_camera(config.camera, config.quality.megapixels_max)
            mailbox = stack.enter_context(
                capturing(camera, reconnect_s=config.camera.reconnect_s, join_s=config.camera.read_timeout_s)
            )
            lifecycle = Lifecycle(config, database, composer)
            sessions = SessionFactory(config, lifecycle, pipeline.detector, pipeline.classifier, camera.name)
            birth = partial(composer.birth, sessions.networks, camera.name, pipeline.known_um_per_px)
            publisher = stack.enter_context(self._publisher(composer, outbox, lifecycle, birth))
            stack.enter_context(_fault_status(publisher))
            reporter = Reporter(config, composer, publisher, mailbox, self._observer, self._bundles.state)
            stack.enter_context(self._bundles.offered())
            stack.enter_context(announced(config.device, config.mqtt, composer, publisher))
            stack.callback(self.commands.close)
            loop = SampleLoop(pipeline, sessions, composer, publisher, reporter, waits_for_disk=self.sample is None)
            stack.enter_context(self._served(loop, lifecycle))
            self._ready(camera)
            fault = self._read(loop, mailbox, camera.live)
            mailbox.end()
            self._heartbeat.unregister("capture")
            # Within, so that the result is on the disk before anyone waits for a slow camera's last read.
            return self._finish(loop, outbox, mailbox, fault)

    @contextmanager
    def _pipeline(self, composer: Composer, outbox: Outbox) -> Iterator[Pipeline]:
        """Load the networks, and tell systemd and the broker how far that is where it takes long."""
        self._heartbeat.starting("loading the networks")
        with build_status(self.config, composer, outbox, self._heartbeat.starting) as step:
            pipeline = self._bundles.loaded(lambda: Pipeline(self.config, progress=step))
        with pipeline:
            yield pipeline

    def _ready(self, camera: Camera) -> None:
        """Tell systemd that samples can be read, and which threads it is to hear of."""
        what = f"reading sample {self.sample}" if self.sample else "reading samples that are started"
        self._heartbeat.ready(f"{what} from {camera.name}")
        if self.config.mqtt.enabled:
            self._heartbeat.register("sender", SENDER_S)
        if camera.live:
            self._heartbeat.register("capture", self.config.camera.read_timeout_s + CAPTURE_S)

    def _publisher(
        self, composer: Composer, outbox: Outbox, lifecycle: Lifecycle, birth: Callable[[str | None], Birth]
    ) -> Publisher:
        """Return a publisher, not connected yet, with commands over MQTT where they are configured.

        birth: makes that message with the challenge for the next command, None where no commands are taken.
        """
        mqtt = self.config.mqtt
        if not mqtt.commands or mqtt.command_secret is None:
            beat, held, offers = partial(self._heartbeat.beat, "sender"), lifecycle.numbers.held, self._bundles.listen()
            return Publisher(mqtt, composer, outbox, partial(birth, None), alive=beat, listen=offers, held=held)
        topic = f"{ROOT}/{composer.site}/{composer.device}/command"
        authenticator = Authenticator(mqtt.command_secret.get_secret_value(), topic)

        def alive() -> None:
            self._heartbeat.beat("sender")
            remote.renew_challenge()

        # Its callbacks are first called when it connects, and `remote` is there by then.
        publisher = Publisher(
            mqtt,
            composer,
            outbox,
            lambda: birth(authenticator.challenge),
            alive=alive,
            listen=[
                Listen(topic, lambda payload, correlation: remote.receive(payload, correlation)),
                *self._bundles.listen(),
            ],
            held=lifecycle.numbers.held,
        )
        remote = RemoteCommands(authenticator, self.commands, composer, publisher)
        return publisher

    def _served(self, loop: SampleLoop, lifecycle: Lifecycle) -> AbstractContextManager[None]:
        """Serve the API from another thread: it hands commands in, and reads database and loop."""
        from edge.page.serve import served

        def tell(level: Level, code: str, text: str) -> None:
            loop.publisher.event(loop.composer.event(level, code, text))

        return served(Device(self.config, lifecycle, self.commands, loop.state, lambda: loop.live, tell=tell))

    def _read(self, loop: SampleLoop, mailbox: Mailbox, live: bool) -> EdgeError | None:
        """Read frames until the end; return the error if one was the end."""
        try:
            loop.tidy()
            loop.recover(self.sample)
            if self.sample is not None and loop.session is None:
                loop.start(self.sample, "run")
            while not (
                self._stopping or self._switching or mailbox.ended or (self.sample is not None and loop.session is None)
            ):
                self._heartbeat.tick()
                self.commands.work_off(loop.do)
                self._look_after(loop, mailbox)
                loop.retry_end()
                if (loop.session is None or loop.ending) and not live:
                    mailbox.wait(POLL_S)  # files and rendered slides wait for a sample
                    continue
                item = mailbox.take(POLL_S)
                if item is not None:
                    self._heartbeat.beat("capture")
                    loop.show(item)
                if item is not None and loop.session is not None and loop.ending is None:
                    loop.read(loop.session, item)
                    self._end_by_rule(loop)
        except SampleError:
            raise  # the one sample asked for cannot be read: nothing has begun
        except EdgeError as error:
            log.error("%s", error)
            return error
        return None

    def _end_by_rule(self, loop: SampleLoop) -> None:
        """End the sample at hand by a rule, or when as many frames as were asked for were read."""
        if loop.session is None:
            return
        if loop.session.frames == self._frames:
            loop.end_when_possible(FRAMES)
        elif self._frames is None and loop.session.rule():
            loop.end_when_possible("")

    def _end_at_last(self, loop: SampleLoop, why: str) -> None:
        """End the sample at hand, while another program may hold the database for long."""
        deadline = time.monotonic() + UNLOCK_S
        while True:
            try:
                loop.end(why, by_person=self._stopping)
                return
            except LockedError:
                if time.monotonic() >= deadline:
                    raise
                self._heartbeat.tick()

    def _look_after(self, loop: SampleLoop, mailbox: Mailbox) -> None:
        """Tell what the camera gave notice of, and that the device is there."""
        for notice in mailbox.notices():
            loop.reporter.camera(notice)
            self._heed(notice)
        for level, code, text in self._bundles.news():
            loop.publisher.event(loop.composer.event(level, code, text))
        if loop.session is None:
            self._switching = self.sample is None and self._bundles.due(loop)
            loop.reporter.idle()
            if loop.untidy:
                loop.tidy()

    def _heed(self, notice: Notice) -> None:
        """Set how long the capture thread may be silent: longer while it looks for a lost camera."""
        camera = self.config.camera
        looks_s = camera.reconnect_s + camera.read_timeout_s if notice.code == "camera_lost" else 0.0
        self._heartbeat.register("capture", looks_s + camera.read_timeout_s + CAPTURE_S)
        self._heartbeat.status(notice.text)

    def _finish(self, loop: SampleLoop, outbox: Outbox, mailbox: Mailbox, fault: EdgeError | None) -> Outcome | None:
        if loop.session is not None:
            self._end_at_last(loop, str(fault) if fault else STOPPED if self._stopping else ENDED)
        if fault is not None:
            loop.announce_fault(fault)
        loop.publisher.drain(ACKNOWLEDGE_S)
        if loop.ended is None:
            if fault is not None:
                raise fault
            return None
        session, result = loop.ended
        return Outcome(
            sample=session.stored.code,
            counts=session.counts(),
            verdict=session.verdict(),
            frames=session.frames,
            dropped=mailbox.dropped,
            fate=fate_of(result, self.config, outbox),
            link=loop.publisher.state(),
            fault=fault,
        )


@contextmanager
def _fault_status(publisher: Publisher) -> Iterator[None]:
    """Let the retained status say `fault` where an error ends the run, and not that it stopped on purpose."""
    try:
        yield
    except SampleError:  # the one sample asked for cannot be read: the device is in order
        raise
    except EdgeError as error:
        publisher.status("fault", str(error))
        raise
    except Exception as error:
        publisher.status("fault", f"a fault of the program, {type(error).__name__}: {error}")
        raise


def resend(config: Config) -> Resent:
    """Send every result that was refused, or still waits; a service may run on the same outbox.

    Raises StorageError when the outbox cannot be read, BrokerError when the broker cannot be reached, ConfigError when
    MQTT is switched off.
    """
    if not config.mqtt.enabled:
        raise ConfigError("mqtt.enabled is false: nothing can be sent. Set it to true in sicklescope.toml")
    with Database(database_path(config)) as database:
        return send_again(config.mqtt, Composer(config.device), Outbox(database))
