"""Messages to the broker and results from the outbox, through a connection that comes and goes.

Three kinds of threads: the caller's, which hands messages over and never waits for the network; the connection's,
which only note what happened; and the sender's, which alone publishes, and alone takes results out of the outbox.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from edge.config.model import MqttConfig
from edge.errors import BrokerError
from edge.publish.composer import Composer
from edge.publish.connection import NOT_YET, STOP_S, Key, Link, Listen
from edge.publish.message_base import Message, topic
from edge.publish.messages import Birth, Event, Reply, Telemetry
from edge.publish.pending import Pending, State
from edge.publish.replay import Replay
from edge.publish.result_messages import Progress, Result
from edge.publish.sender import Sender
from edge.storage.outbox import Outbox
from edge.storage.result_numbers import HeldResults


@dataclass(frozen=True, slots=True)
class PublisherState:
    """What to show of the connection.

    reason: why there is none, in the broker's words if it gave any; else empty.

    pending, refused, unheard: results in the outbox. dropped: progress, telemetry and events that were never sent.
    """

    connected: bool
    reason: str
    pending: int
    refused: int
    unheard: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Resent:
    """What came of `resend`.

    sent: the broker took them; refused: again; pending: it has not answered yet; unheard: it took them, and nobody
    subscribes.
    """

    sent: int
    refused: int
    pending: int
    unheard: int


class Publisher:
    """Publishes one device's messages.

    Entering begins to connect, and never fails for want of a broker.

    Any thread may call its methods; none waits for the network but `drain` and leaving. On leaving the retained
    status becomes `stopped`, or stays `fault` or `building`; what is in the outbox stays there for the next time. The
    outbox is the caller's to close, afterwards. With `mqtt.enabled = false` nothing is sent or stored.
    """

    def __init__(
        self,
        config: MqttConfig,
        compose: Composer,
        outbox: Outbox,
        birth: Callable[[], Birth | None] | None,
        client_id: str | None = None,
        alive: Callable[[], None] = lambda: None,
        listen: Sequence[Listen] = (),
        held: Callable[[], HeldResults] | None = None,
    ) -> None:
        """Set up the connection.

        `birth` makes the message sent on each, or None while it is not known what the device is made of. Without
        `birth` there is no status and no will. `alive` is called by the sender at least every two seconds, unless it
        hangs. `listen`: the topics to subscribe to.
        `held` tells which results can be sent again, for their index; without it there is none.

        Raises ConfigError when the configuration contradicts itself or a certificate cannot be used.
        """
        self._enabled = config.enabled
        self._compose = compose
        self._outbox = outbox
        self._speaks_for_device = birth is not None
        self._alive = alive
        self._pending = Pending()
        self._link = Link(
            config,
            client_id or config.client_id or f"sicklescope-{compose.site}-{compose.device}",
            up=self._on_up,
            down=self._on_down,
            answer=self._on_answer,
            will=self._will if birth else None,
            listen=listen,
        )
        replay = Replay(outbox, self._pending, compose, config.replay_per_s)
        self._sender = Sender(self._link, self._pending, replay, compose, birth, held)
        self._thread = threading.Thread(target=self._run, name="mqtt-sender", daemon=True)
        self._wake = threading.Event()
        self._stopping = threading.Event()

    def __enter__(self) -> Publisher:
        if self._enabled:
            self._link.open()
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._enabled:
            return
        self._stopping.set()
        self._wake.set()
        self._thread.join(STOP_S)
        state, reason = self._pending.status
        last = self._compose.status("stopped" if state == "online" else state, reason)
        self._link.close((self._topic(last), last.to_json()) if self._speaks_for_device else None)
        if not self._thread.is_alive():
            self._sender.finish()

    # What the caller hands over.

    def status(self, state: State, reason: str = "") -> None:
        """Change the retained status; it is sent again on each connection."""
        self._pending.put_status(state, reason)
        self._wake.set()

    def announce(self) -> None:
        """Send status and birth again, for something in them is new."""
        self._pending.announce()
        self._wake.set()

    def reply(self, reply: Reply) -> None:
        """Send the answer to a command.

        It is forgotten when the program ends before there is a connection.
        """
        self._pending.put_reply(reply)
        self._wake.set()

    def live(self, message: Progress | Telemetry) -> None:
        """Send running counts or telemetry.

        Counts are dropped without a connection; telemetry is stored until there is one.
        """
        if not self._enabled:
            return
        if isinstance(message, Progress):
            self._pending.put_progress(message)
        else:
            self._pending.put_news(message)
        self._wake.set()

    def withdraw_progress(self) -> None:
        """Drop running counts that were handed over and have not left.

        The sample's result comes next.
        """
        self._pending.drop(self._pending.take_progress() is not None)

    def event(self, event: Event) -> None:
        """Send an event; without a connection it is stored and sent later."""
        if not self._enabled:
            return
        self._pending.put_news(event)
        self._wake.set()

    def result(self, result: Result) -> None:
        """Store a result in the outbox, from where it is sent.

        Raises StorageError when it cannot be stored.
        """
        if self._enabled:
            self._outbox.put(result.id, self._topic(result), result.to_json())
            self._wake.set()

    def wake(self) -> None:
        """Look at outbox and results now, for something else has changed them."""
        self._pending.ask_index()
        self._wake.set()

    def state(self) -> PublisherState:
        """Return what to show; raises StorageError when the outbox cannot be read."""
        counts = self._outbox.counts()
        reason = self._link.reason if self._enabled else "mqtt.enabled is false"
        return PublisherState(
            self._link.connected, reason, counts.pending, counts.refused, counts.unheard, self._pending.dropped
        )

    @property
    def connection(self) -> int:
        """Number of the connection, another for each; 0 where there is none."""
        return self._link.number if self._link.connected else 0

    def drain(self, timeout_s: float) -> bool:
        """Wait until no result waits for the broker.

        False when time is over or there is no way to the broker.
        """
        deadline = time.monotonic() + timeout_s
        while self._outbox.counts().pending:
            no_way = not self._link.connected and self._link.reason != NOT_YET
            if no_way or not self._enabled or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    # What the connection's threads note.

    def _will(self) -> tuple[str, str]:
        will = self._compose.status("offline", "the broker lost the connection")
        return self._topic(will), will.to_json()

    def _on_up(self) -> None:
        self._sender.on_up()
        self._wake.set()

    def _on_down(self, code: str, reason: str) -> None:
        self.event(self._compose.event("error", code, reason))

    def _on_answer(self, key: Key, code: int, reason: str) -> None:
        self._sender.on_answer(key, code, reason)
        self._wake.set()

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopping.is_set():
            self._wake.wait(pause_s)
            self._wake.clear()
            pause_s = self._sender.tick()
            self._alive()
        self._sender.tick()  # what was handed over just before the end

    def _topic(self, message: Message) -> str:
        return topic(message, self._compose.site, self._compose.device)


def resend(config: MqttConfig, compose: Composer, outbox: Outbox, timeout_s: float = 30.0) -> Resent:
    """Send what the broker had refused, and all else that waits; the service may run meanwhile.

    Raises BrokerError with the broker's reason when it cannot be reached; the results then wait for the service.
    """
    outbox.resend()
    outbox.retry_unheard()
    total = outbox.counts().pending
    client_id = f"{config.client_id or f'sicklescope-{compose.site}-{compose.device}'}-resend"
    with Publisher(config, compose, outbox, birth=None, client_id=client_id) as publisher:
        drained = publisher.drain(timeout_s)
        state = publisher.state()
    if not drained and not state.connected:
        raise BrokerError(f"{state.reason}. {state.pending} results wait")
    counts = outbox.counts()
    left = counts.pending + counts.refused + counts.unheard
    return Resent(max(0, total - left), counts.refused, counts.pending, counts.unheard)
