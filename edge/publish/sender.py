"""What is sent, and when: results first, then what waited in the outbox for a connection, then what is new."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from edge.errors import StorageError
from edge.publish.composer import Composer
from edge.publish.connection import Key, Link
from edge.publish.message_base import Message
from edge.publish.message_base import topic as topic_of
from edge.publish.messages import Birth, Event, Reply, Status, Telemetry
from edge.publish.pending import NEWS, Pending
from edge.publish.replay import FAILURE, MODELS, Replay
from edge.publish.result_messages import Progress, ResultIndex
from edge.storage.result_numbers import HeldResults

log = logging.getLogger(__name__)

WINDOW = 20
"""Messages that may wait for their PUBACK at once, where the broker takes as many (Mosquitto: 20)."""

INDEX_INTERVAL_S = 1.0
"""Between two indices of results at least: many results that come together need one."""

POLL_S = 2.0
"""How often the outbox is looked at unasked: another program may have put results back (`sicklescope resend`)."""

PATIENCE_S = 30.0
"""A broker that leaves a message unacknowledged for so long is connected to anew; each time in vain doubles it.

paho's own keep-alive does not see it: from 2.2 on any byte that comes in is a sign of life.
"""

PATIENCE_MAX_S = 600.0

_BRIEF_S = 5.0
"""A connection that ends so soon after a message was sent may have ended for that message."""

_HEADER_BYTES = 12
"""Of a PUBLISH packet beside topic and payload, at most: fixed header, two lengths, identifier, no properties."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that waits for its PUBACK.

    Attributes:
        model: what it is.
        row_id: its row in the outbox, or empty.
        message: what is sent again, or stored, when the connection is lost; rows are in the outbox anyway.
        qos: with which it was sent.
        since_s: monotonic time at which it was sent.
    """

    model: type[Message]
    row_id: str = ""
    message: Event | Telemetry | Reply | None = None
    qos: int = 0
    since_s: float = 0.0


class Sender:
    """Sends from one thread.

    Only `on_up` and `on_answer`, which note what happened, are called by the connection's.
    """

    def __init__(
        self,
        link: Link,
        pending: Pending,
        replay: Replay,
        compose: Composer,
        birth: Callable[[], Birth | None] | None,
        held: Callable[[], HeldResults] | None,
    ) -> None:
        self._link, self._pending, self._replay, self._compose = link, pending, replay, compose
        self._birth, self._held = birth, held
        self._index_sent: tuple[int, HeldResults] | None = None
        self._index_s = float("-inf")
        self._patience_s, self._impatient, self._heard_s = PATIENCE_S, False, float("-inf")
        self._answers: deque[tuple[Key, int, str]] = deque()
        self._waiting: dict[Key, Sent] = {}
        self._urgent: deque[Status | Birth | Reply] = deque()
        self._storage_fault = ""
        self._refused: dict[type[Message], str] = {}

    def on_up(self) -> None:
        """Note that there is a new connection."""
        self._pending.announce()
        self._pending.ask_index()

    def on_answer(self, key: Key, code: int, reason: str) -> None:
        """Note a PUBACK, or that a QoS 0 message has left."""
        self._answers.append((key, code, reason))

    def tick(self) -> float:
        """Take in what was answered, send or store what waits.

        Return the seconds until the next look unasked.
        """
        pause_s = POLL_S
        self._hear()
        self._take_back()
        connected = self._link.connected
        if connected:
            self._send_urgent()
        try:
            pause_s = min(pause_s, self._replay.record(at_once=not self._waiting))
            if connected:
                pause_s = min(pause_s, self._send_rows(), self._send_index())
            else:
                self._store_news()
            self._storage_fault = ""
        except StorageError as error:
            self._say_storage(str(error))
        if connected:
            self._send_news()
            self._lose_patience()
        else:
            self._pending.drop(self._pending.take_progress() is not None)
        return pause_s

    def finish(self) -> None:
        """Take in the last answers, and store what nobody acknowledged: the next run sends it."""
        self._hear()
        self._give_back(self._waiting.values())
        try:
            self._replay.record(at_once=True)
            self._store_news()
        except StorageError as error:
            log.error("%s", error)

    # What was answered, and what was not.

    def _hear(self) -> None:
        while self._answers:
            key, code, reason = self._answers.popleft()
            sent = self._waiting.pop(key, None)
            if sent is None:
                continue
            if sent.qos:
                self._patience_s, self._heard_s = PATIENCE_S, time.monotonic()
            if sent.row_id:
                self._replay.answered(sent.row_id, sent.model, code, reason)
            else:
                self._hear_of(sent.model, code, reason)

    def _hear_of(self, model: type[Message], code: int, reason: str) -> None:
        """Say once that the broker refuses a kind of messages, until it takes one."""
        if code < FAILURE:
            self._refused.pop(model, None)
            return
        self._pending.drop(1)
        if self._refused.get(model) != reason:
            self._refused[model] = reason
            log.error("the broker refused %s messages: %s. May this user publish to the topic?", model.kind, reason)

    def _take_back(self) -> None:
        """Take back what was on its way on a connection that is gone."""
        number = self._link.number
        lost = {key: sent for key, sent in self._waiting.items() if key[0] != number}
        for key in lost:
            del self._waiting[key]
        self._give_back(lost.values())
        self._suspect([sent for sent in lost.values() if sent.row_id])
        self._impatient = self._impatient and not lost

    def _suspect(self, rows: list[Sent]) -> None:
        """Suspect those rows for which the broker may have ended the connection, or that it never answers."""
        if self._link.unreachable:
            self._replay.broker_was_away()
            return
        if self._impatient:  # of a broker that answers others meanwhile
            rows = [sent for sent in rows if sent.since_s < self._heard_s]
        elif not self._link.unexplained or not any(time.monotonic() - sent.since_s < _BRIEF_S for sent in rows):
            return
        if rows:
            self._replay.ended_connection({sent.row_id: sent.model for sent in rows}, self._link.reason)

    def _give_back(self, lost: Collection[Sent]) -> None:
        self._pending.drop(sum(sent.model is Progress for sent in lost))
        messages = [sent.message for sent in lost if sent.message is not None]
        self._pending.give_back([one for one in messages if not isinstance(one, Reply)])
        for one in messages:
            if isinstance(one, Reply):
                self._pending.put_reply(one)

    def _say_storage(self, fault: str) -> None:
        """Say once that the outbox fails; it is tried again at the next look."""
        if fault != self._storage_fault:
            self._storage_fault = fault
            log.error("%s", fault)
            self._pending.put_news(self._compose.event("error", "storage", fault))

    def _lose_patience(self) -> None:
        """Connect anew when the oldest message waits too long: only then may MQTT send it a second time."""
        now = time.monotonic()
        oldest_s = min((sent.since_s for sent in self._waiting.values() if sent.qos), default=now)
        if now - oldest_s > self._patience_s:
            self._impatient = True
            self._link.renew(f"it left a message unacknowledged for {self._patience_s:.0f} s")
            self._patience_s = min(2 * self._patience_s, PATIENCE_MAX_S)

    # What is sent, and what is stored instead.

    def _room(self) -> int:
        """Return how many messages of QoS 1 may be sent now."""
        return min(WINDOW, self._link.limits.unacknowledged) - sum(sent.qos for sent in self._waiting.values())

    def _send_urgent(self) -> None:
        """Send status and birth when asked to, and the answers to commands."""
        on_their_way = {sent.model for sent in self._waiting.values()} | {type(message) for message in self._urgent}
        if not on_their_way & {Status, Birth}:
            status = self._pending.take_announcement()
            if status is not None and self._birth is not None:
                self._urgent.append(self._compose.status(*status))
                birth = self._birth()
                if birth is not None:
                    self._urgent.append(birth)
        self._urgent.extend(self._pending.take_replies())
        while self._urgent and self._room() > 0:
            self._hand_over(self._urgent.popleft())

    def _send_rows(self) -> float:
        """Send from the outbox as far as the window allows; return the seconds until there may be more to send."""
        if not self._link.limits.qos_1:
            return POLL_S
        self._replay.begin(self._link.number)
        while self._room() > 0:
            on_their_way = {sent.row_id for sent in self._waiting.values() if sent.row_id}
            row, wait_s = self._replay.next(on_their_way)
            if row is None:
                return wait_s
            if self._too_large(row.topic, row.payload):
                self._replay.too_large(row, self._link.limits.packet_bytes or 0)
            elif not self._publish(row.topic, row.payload, Sent(MODELS[row.kind], row.id)):
                return POLL_S
        return POLL_S

    def _send_index(self) -> float:
        """Send the index of results where it has changed; return the seconds until it may be sent again."""
        wait_s = self._index_s + INDEX_INTERVAL_S - time.monotonic()
        if wait_s > 0 or self._room() <= 0 or ResultIndex in {sent.model for sent in self._waiting.values()}:
            return max(wait_s, 0.0) or POLL_S
        if self._held is not None and self._pending.take_index():
            self._index_s = time.monotonic()
            try:
                new = self._link.number, self._held()
            except StorageError:
                self._pending.ask_index()
                raise
            if new != self._index_sent:
                self._index_sent = new
                self._hand_over(self._compose.result_index(new[1], self._link.limits.packet_bytes))
        return POLL_S

    def _send_news(self) -> None:
        """Send what is new from memory, as far as the window allows; of running counts the newest only."""
        for message in self._pending.take_news(max(0, self._room())):
            self._hand_over(message)
        if Progress not in {sent.model for sent in self._waiting.values()}:
            progress = self._pending.take_progress()
            if progress is not None:
                self._hand_over(progress)

    def _store_news(self) -> None:
        """Put events and telemetry on the disk, for there is nobody to send them to."""
        news = self._pending.take_news(NEWS)
        if not news:
            return
        try:
            self._pending.drop(self._replay.store(news))
        except StorageError:
            self._pending.give_back(news)
            raise

    def _hand_over(self, message: Message) -> None:
        payload, _ = self._compose.dated(message.to_json())
        to = topic_of(message, self._compose.site, self._compose.device)
        kept = message if isinstance(message, Event | Telemetry | Reply) else None
        if self._too_large(to, payload):
            log.error("a %s message is larger than the broker takes, and dropped", message.kind)
            self._pending.drop(1)
        elif not self._publish(to, payload, sent := Sent(type(message), message=kept)):
            self._give_back([sent])

    def _too_large(self, to: str, payload: str) -> bool:
        limit = self._link.limits.packet_bytes
        return limit is not None and _HEADER_BYTES + len(to.encode()) + len(payload.encode()) > limit

    def _publish(self, to: str, payload: str, sent: Sent) -> bool:
        qos: Literal[0, 1] = sent.model.qos if self._link.limits.qos_1 else 0
        correlation = sent.message.correlation if isinstance(sent.message, Reply) else None
        key = self._link.publish(to, payload, qos, sent.model.retain, correlation)
        if key is None:
            return False
        self._waiting[key] = replace(sent, qos=qos, since_s=time.monotonic())
        return True
