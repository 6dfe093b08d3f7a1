"""What is sent, and when: results first, then what waited in the outbox for a connection, then what is new."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.errors import StorageError
from edge.publish.composer import Composer
from edge.publish.connection import FAILURE, Link
from edge.publish.messages import Birth, Event, Message, Progress, Result, Status, Telemetry, topic
from edge.publish.pending import NEWS, Tray
from edge.storage.outbox import News, Outbox, Row

log = logging.getLogger(__name__)

WINDOW = 10
"""Messages that may wait for their PUBACK at once; below paho's own 20, so that it never queues behind our back."""

POLL_S = 2.0
"""How often the outbox is looked at unasked: another program may have put results back (`sicklescope resend`)."""

PATIENCE_S = 30.0
"""A broker that acknowledges nothing for so long is connected to anew; each time in vain doubles it."""

PATIENCE_MAX_S = 600.0

_MODELS: dict[str, type[Message]] = {model.kind: model for model in (Result, Event, Telemetry)}
"""Of the rows of the outbox, by kind."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that waits for its PUBACK. row_id: empty where it is no row of the outbox.

    Then `news` may hold it.

    since_s: monotonic time at which it was sent on the connection that stands.
    """

    model: type[Message]
    row_id: str = ""
    news: Event | Telemetry | None = None
    since_s: float = 0.0


class Sender:
    """Sends from one thread.

    Only `on_up` and `on_answer`, which note what happened, are called by paho's thread.
    """

    def __init__(
        self,
        link: Link,
        tray: Tray,
        outbox: Outbox,
        compose: Composer,
        birth: Callable[[], Birth | None] | None,
        replay_per_s: float,
    ) -> None:
        self._link, self._tray, self._outbox, self._compose, self._birth = link, tray, outbox, compose, birth
        self._replay_interval_s = 1.0 / replay_per_s
        self._replay_s = 0.0
        self._pause_s = POLL_S
        self._patience_s = PATIENCE_S
        self._answers: deque[tuple[int, int, str]] = deque()
        self._reconnected = threading.Event()
        self._waiting: dict[int, Sent] = {}
        self._unwritten: dict[str, str] = {}
        self._storage_fault = ""

    def on_up(self) -> None:
        """Note that there is a new connection."""
        self._tray.announce()
        self._reconnected.set()

    def on_answer(self, mid: int, code: int, reason: str) -> None:
        """Note a PUBACK, or that a QoS 0 message has left."""
        self._answers.append((mid, code, reason))

    def turn(self) -> float:
        """Take in what was answered, send or store what waits.

        Returns the seconds until the next look unasked.
        """
        self._pause_s = POLL_S
        self._hear()
        connected = self._link.connected
        if connected:
            self._send_announcement()
        try:
            self._record()
            if connected:
                self._send_rows()
            else:
                self._store_news()
            self._storage_fault = ""
        except StorageError as error:
            self._say_storage(str(error))
        if connected:
            self._send_news()
            self._lose_patience()
        else:
            self._tray.drop(self._tray.take_progress() is not None)
        return self._pause_s

    def finish(self) -> None:
        """Take in the last answers, and store what nobody acknowledged: the next run sends it."""
        self._hear()
        unheard = [sent.news for sent in self._waiting.values() if sent.news is not None]
        self._tray.give_back(unheard)
        try:
            self._record()
            self._store_news()
        except StorageError as error:
            log.error("%s", error)

    # What was answered.

    def _hear(self) -> None:
        if self._reconnected.is_set():
            self._reconnected.clear()
            # What had QoS 0 and was on its way went down with the last connection; the rest has been sent anew.
            now = time.monotonic()
            self._waiting = {mid: replace(sent, since_s=now) for mid, sent in self._waiting.items() if sent.model.qos}
        while self._answers:
            mid, code, reason = self._answers.popleft()
            sent = self._waiting.pop(mid, None)
            if sent is None:
                continue
            if sent.model.qos:
                self._patience_s = PATIENCE_S
            refused = reason if code >= FAILURE else ""
            if sent.row_id:
                self._unwritten[sent.row_id] = refused if sent.model is Result else ""
            if refused:
                self._say_refused(sent, refused)

    def _record(self) -> None:
        """Write the answers into the outbox as one commit; kept for the next time when they cannot be written."""
        if self._unwritten:
            self._outbox.settle(self._unwritten)
            self._unwritten.clear()

    def _say_refused(self, sent: Sent, reason: str) -> None:
        text = f"the broker refused {sent.model.kind} {sent.row_id or 'messages'}: {reason}"
        log.error("%s. May this user publish to the topic?", text)
        if sent.model is Result:
            self._say("result_refused", f"{text}. Kept; send it by `sicklescope resend`")
        else:
            self._tray.drop(1)

    def _say_storage(self, fault: str) -> None:
        """Say once that the outbox fails; it is tried again at the next look."""
        if fault != self._storage_fault:
            self._storage_fault = fault
            log.error("%s", fault)
            self._say("storage", fault)

    def _say(self, code: str, text: str) -> None:
        self._tray.put_news(self._compose.event("error", code, text))

    def _lose_patience(self) -> None:
        """Connect anew when the oldest message waits too long: only then may MQTT send it a second time."""
        now = time.monotonic()
        oldest_s = min((sent.since_s for sent in self._waiting.values() if sent.model.qos), default=now)
        if now - oldest_s > self._patience_s:
            self._link.renew(f"it acknowledged nothing for {self._patience_s:.0f} s")
            self._patience_s = min(2 * self._patience_s, PATIENCE_MAX_S)

    # What is sent, and what is stored instead.

    def _send_announcement(self) -> None:
        """Send status and birth when asked to, unless they are on their way."""
        if {sent.model for sent in self._waiting.values()} & {Status, Birth}:
            return
        status = self._tray.take_announcement()
        if status is not None and self._birth is not None:
            self._hand_over(self._compose.status(*status))
            birth = self._birth()
            if birth is not None:
                self._hand_over(birth)

    def _send_rows(self) -> None:
        """Send from the outbox: results, then stored news, each oldest first; what is old only at the set pace."""
        known = {sent.row_id for sent in self._waiting.values()}
        for row in self._outbox.pending(WINDOW):
            if row.id in known or len(self._waiting) >= WINDOW:
                continue
            if not row.whole:
                self._put_aside(row)
                continue
            payload, historical = self._compose.dated(row.payload)
            if historical and not self._may_replay():
                break
            self._publish(row.topic, payload, Sent(_MODELS[row.kind], row.id))

    def _put_aside(self, row: Row) -> None:
        """Keep a damaged result out of the way, for it must not arrive altered; other damaged messages are nothing."""
        if row.kind == Result.kind:
            self._outbox.mark_refused(row.id, "damaged on the disk")
            self._say("storage", f"result {row.id} is damaged on the disk; it is kept, and not sent")
        else:
            self._outbox.delete(row.id)
            self._tray.drop(1)

    def _may_replay(self) -> bool:
        """Say whether an old message may go now; if not, look again when it may."""
        now = time.monotonic()
        if now < self._replay_s:
            self._pause_s = min(self._pause_s, self._replay_s - now)
            return False
        self._replay_s = now + self._replay_interval_s
        return True

    def _send_news(self) -> None:
        """Send what is new from memory, as far as the window allows; of running counts the newest only."""
        for reply in self._tray.take_replies():
            self._hand_over(reply)
        for message in self._tray.take_news(max(0, WINDOW - len(self._waiting))):
            self._hand_over(message)
        if Progress not in {sent.model for sent in self._waiting.values()}:
            progress = self._tray.take_progress()
            if progress is not None:
                self._hand_over(progress)

    def _store_news(self) -> None:
        """Put events and telemetry on the disk, for there is nobody to send them to."""
        news = self._tray.take_news(NEWS)
        if not news:
            return
        try:
            stored = [News(message.kind, self._topic(message), message.to_json()) for message in news]
            self._tray.drop(self._outbox.store(stored))
        except StorageError:
            self._tray.give_back(news)
            raise

    def _hand_over(self, message: Message) -> None:
        payload, _ = self._compose.dated(message.to_json())
        news = message if isinstance(message, Event | Telemetry) else None
        if not self._publish(self._topic(message), payload, Sent(type(message), news=news)):
            self._tray.drop(1)

    def _publish(self, to: str, payload: str, sent: Sent) -> bool:
        mid = self._link.publish(to, payload, sent.model.qos, sent.model.retain)
        if mid is None:
            return False
        self._waiting[mid] = replace(sent, since_s=time.monotonic())
        return True

    def _topic(self, message: Message) -> str:
        return topic(message, self._compose.site, self._compose.device)
