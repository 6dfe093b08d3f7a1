"""Messages to the broker and results from the outbox, through a connection that comes and goes.

Three threads: the caller's, which hands messages over and never waits for the network; paho's, which only notes what
happened; and the sender, which alone publishes, and alone takes results out of the outbox.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from edge.config import MqttConfig
from edge.errors import BrokerError, StorageError
from edge.publish.compose import Composer
from edge.publish.connection import FAILURE, NOT_YET, STOP_S, Link
from edge.publish.message import Birth, Event, Message, Progress, Result, Status, Telemetry, topic
from edge.publish.outbox import Outbox

log = logging.getLogger(__name__)

WINDOW = 10
"""Messages that may wait for their PUBACK at once; below paho's own 20, so that it never queues behind our back."""

EVENTS = 100
"""Events that are kept while the broker is away; then the oldest go."""

POLL_S = 2.0
"""How often the outbox is looked at unasked: another program may have put results back (`sicklescope resend`)."""


@dataclass(frozen=True, slots=True)
class PublisherState:
    """What to show of the connection. reason: why there is none, in the broker's words if it gave any; else empty.

    pending, refused: results in the outbox. dropped: progress, telemetry and events that were never sent.
    """

    connected: bool
    reason: str
    pending: int
    refused: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Resent:
    """What came of `resend`. sent: the broker took them; refused: again; pending: it has not answered yet."""

    sent: int
    refused: int
    pending: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message that waits for its PUBACK; result_id is empty where it is not a row of the outbox."""

    model: type[Message]
    result_id: str = ""


class Publisher:
    """Publishes one device's messages. Entering begins to connect, and never fails for want of a broker.

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
    ) -> None:
        """Set up the connection.

        `birth` makes the message sent on each, or None while it is not known what the device is made of. Without
        `birth` there is no status and no will.

        Raises ConfigError when the configuration contradicts itself or a certificate cannot be used.
        """
        self._enabled = config.enabled
        self._compose = compose
        self._outbox = outbox
        self._birth = birth
        self._link = Link(
            config,
            client_id or config.client_id or f"sicklescope-{compose.site}-{compose.device}",
            up=self._on_up,
            down=self._on_down,
            answer=self._on_answer,
            will=self._will if birth else None,
        )
        self._sender = threading.Thread(target=self._run, name="mqtt-sender", daemon=True)
        self._wake = threading.Event()
        self._stopping = threading.Event()

        # What the callers want sent: under the lock.
        self._lock = threading.Lock()
        self._status: tuple[Literal["online", "fault", "building"], str] = ("online", "")
        self._announce = False
        self._live: dict[str, Message] = {}
        self._events: deque[Event] = deque()
        self._dropped = 0

        # What paho's thread noted.
        self._answers: deque[tuple[int, int, str]] = deque()
        self._reconnected = threading.Event()

        # The sender's own: what waits for its PUBACK by number, and answers that are not yet in the outbox.
        self._waiting: dict[int, _Sent] = {}
        self._unwritten: dict[str, str] = {}
        self._storage_fault = ""

    def __enter__(self) -> Publisher:
        if self._enabled:
            self._link.open()
            self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._enabled:
            return
        self._stopping.set()
        self._wake.set()
        self._sender.join(STOP_S)
        state, reason = self._status
        last = self._compose.status("stopped" if state == "online" else state, reason)
        self._link.close((self._topic(last), last.to_json()) if self._birth else None)
        if not self._sender.is_alive():
            # Answers that came meanwhile: what they speak of need not be sent a second time.
            self._hear()
            self._record()

    # What the caller hands over.

    def status(self, state: Literal["online", "fault", "building"], reason: str = "") -> None:
        """Change the retained status; it is sent again on each connection."""
        with self._lock:
            self._status = (state, reason)
            self._announce = True
        self._wake.set()

    def live(self, message: Progress | Telemetry) -> None:
        """Send a message that the next one replaces: dropped without a connection, or when the network is behind."""
        with self._lock:
            self._dropped += message.kind in self._live
            self._live[message.kind] = message
        self._wake.set()

    def event(self, event: Event) -> None:
        """Send an event; the newest are kept while there is no connection, not over a restart."""
        with self._lock:
            self._events.append(event)
            if len(self._events) > EVENTS:
                self._events.popleft()
                self._dropped += 1
        self._wake.set()

    def result(self, result: Result) -> None:
        """Store a result in the outbox, from where it is sent; raises StorageError when it cannot be stored."""
        if self._enabled:
            self._outbox.put(result.id, self._topic(result), result.to_json())
            self._wake.set()

    def wake(self) -> None:
        """Look at the outbox now, because something else has put a result there."""
        self._wake.set()

    def state(self) -> PublisherState:
        """Return what to show; raises StorageError when the outbox cannot be read."""
        counts = self._outbox.counts()
        reason = self._link.reason if self._enabled else "mqtt.enabled is false"
        return PublisherState(self._link.connected, reason, counts.pending, counts.refused, self._dropped)

    def drain(self, timeout_s: float) -> bool:
        """Wait until no result waits for the broker; False when time is over or there is no way to the broker."""
        deadline = time.monotonic() + timeout_s
        while self._outbox.counts().pending:
            no_way = not self._link.connected and self._link.reason != NOT_YET
            if no_way or not self._enabled or time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    # What paho's thread notes.

    def _will(self) -> tuple[str, str]:
        will = self._compose.status("offline", "the broker lost the connection")
        return self._topic(will), will.to_json()

    def _on_up(self) -> None:
        with self._lock:
            self._announce = True
        self._reconnected.set()
        self._wake.set()

    def _on_down(self, code: str, reason: str) -> None:
        self.event(self._compose.event("error", code, reason))

    def _on_answer(self, mid: int, code: int, reason: str) -> None:
        self._answers.append((mid, code, reason))
        self._wake.set()

    # What the sender does.

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(POLL_S)
            self._wake.clear()
            self._turn()
        self._turn()  # what was handed over just before the end

    def _turn(self) -> None:
        self._hear()
        if self._link.connected:
            self._send_news()
        else:
            self._drop_live()
        try:
            self._record()
            if self._link.connected:
                self._send_results()
            self._storage_fault = ""
        except StorageError as error:
            self._say_storage(str(error))

    def _hear(self) -> None:
        """Take in what the broker answered."""
        if self._reconnected.is_set():
            self._reconnected.clear()
            # What had QoS 0 and was on its way went down with the last connection.
            self._waiting = {mid: sent for mid, sent in self._waiting.items() if sent.model.qos}
        while self._answers:
            mid, code, reason = self._answers.popleft()
            sent = self._waiting.pop(mid, None)
            if sent is None:
                continue
            refused = reason if code >= FAILURE else ""
            if sent.result_id:
                self._unwritten[sent.result_id] = refused
            if refused:
                self._say_refused(sent, refused)

    def _record(self) -> None:
        """Write the answers into the outbox; one that cannot be written is kept for the next time."""
        for result_id, refused in list(self._unwritten.items()):
            if refused:
                self._outbox.mark_refused(result_id, refused)
            else:
                self._outbox.delete(result_id)
            del self._unwritten[result_id]

    def _say_refused(self, sent: _Sent, reason: str) -> None:
        text = f"the broker refused {sent.model.kind} {sent.result_id or 'messages'}: {reason}"
        log.error("%s. May this user publish to the topic?", text)
        if sent.result_id:
            self.event(self._compose.event("error", "result_refused", f"{text}. Kept; send it by `sicklescope resend`"))

    def _say_storage(self, fault: str) -> None:
        """Say once that the outbox fails; it is tried again at the next look."""
        if fault != self._storage_fault:
            self._storage_fault = fault
            log.error("%s", fault)
            self.event(self._compose.event("error", "storage", fault))

    def _send_news(self) -> None:
        """Send what is not in the outbox. Of status, birth and live messages one of each is on its way at most."""
        busy = {sent.model for sent in self._waiting.values()}
        with self._lock:
            state, reason = self._status
            announce = self._announce and not busy & {Status, Birth}
            self._announce = self._announce and not announce
            news = [self._live.pop(message.kind) for message in list(self._live.values()) if type(message) not in busy]
            while self._events and len(self._waiting) + len(news) < WINDOW:
                news.append(self._events.popleft())
        if announce and self._birth is not None:
            birth = self._birth()
            news[:0] = [self._compose.status(state, reason), *([birth] if birth else [])]
        for message in news:
            self._hand_over(self._topic(message), message.to_json(), _Sent(type(message)))

    def _drop_live(self) -> None:
        with self._lock:
            self._dropped += len(self._live)
            self._live.clear()

    def _send_results(self) -> None:
        known = {sent.result_id for sent in self._waiting.values()}
        for row in self._outbox.pending(WINDOW):
            if row.id not in known and len(self._waiting) < WINDOW:
                self._hand_over(row.topic, row.payload, _Sent(Result, row.id))

    def _hand_over(self, to: str, payload: str, sent: _Sent) -> None:
        mid = self._link.publish(to, payload, sent.model.qos, sent.model.retain)
        if mid is not None:
            self._waiting[mid] = sent
        elif not sent.result_id:
            with self._lock:
                self._dropped += 1

    def _topic(self, message: Message) -> str:
        return topic(message, self._compose.site, self._compose.device)


def resend(config: MqttConfig, compose: Composer, outbox: Outbox, timeout_s: float = 30.0) -> Resent:
    """Send what the broker had refused, and all else that waits; the service may run meanwhile.

    Raises BrokerError with the broker's reason when it cannot be reached; the results then wait for the service.
    """
    outbox.resend()
    total = outbox.counts().pending
    client_id = f"{config.client_id or f'sicklescope-{compose.site}-{compose.device}'}-resend"
    with Publisher(config, compose, outbox, birth=None, client_id=client_id) as publisher:
        drained = publisher.drain(timeout_s)
        state = publisher.state()
    if not drained and not state.connected:
        raise BrokerError(f"{state.reason}. {state.pending} results wait")
    counts = outbox.counts()
    return Resent(total - counts.pending - counts.refused, counts.refused, counts.pending)
