"""What the outbox holds, on its way to the broker: which row is next, and what the broker's answers mean for it."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge.publish.composer import Composer
from edge.publish.message_base import Message, topic
from edge.publish.messages import Event, Telemetry
from edge.publish.pending import Pending
from edge.publish.result_messages import Result
from edge.publish.suspects import Postponed, Suspects
from edge.storage.outbox import KEPT, RESULT, News, Outbox, Row, Settlement
from edge.system.backoff import Backoff

log = logging.getLogger(__name__)

FAILURE = 0x80
"""The lowest reason code that says no (MQTT 5, 2.4)."""

NO_SUBSCRIBERS = 0x10
"""The broker took the message, and nobody subscribes to it."""

FOR_THE_MOMENT = (0x80, 0x83, 0x97)
"""Unspecified error, implementation specific error, quota exceeded: tried again by themselves."""

UNHEARD_RETRY_S = 900.0
"""How often results that nobody subscribed to are sent again; also on each connection."""

BATCH = 100
"""Rows that are read, and answers that are written, at once."""

_COMMIT_S = 0.05
"""How long an answer may wait for others to be written with it."""

_FRESH_S = 0.05
"""How long rows that were read may wait to be sent: later they may have been erased."""

_ALL_PAUSE_S = (1.0, 30.0)
"""How long all rows wait after a refusal for the moment, first and at most."""

_NEVER_S = 3600.0

MODELS: dict[str, type[Message]] = {model.kind: model for model in (Result, Event, Telemetry)}
"""Of the rows of the outbox, by kind."""


class Replay:
    """Called by the sender's thread alone. Every method may raise StorageError but `answered`."""

    def __init__(
        self,
        outbox: Outbox,
        pending: Pending,
        compose: Composer,
        replay_per_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox, self._pending, self._compose, self._monotonic = outbox, pending, compose, monotonic
        self._interval_s = 1.0 / replay_per_s if replay_per_s else 0.0
        self._next_s = 0.0
        self._ahead: deque[Row] = deque()
        self._read_s = 0.0
        self._unwritten: dict[str, Settlement] = {}
        self._unwritten_s = 0.0
        self._suspects, self._postponed = Suspects(), Postponed()
        self._pauses, self._paused_until_s = Backoff(*_ALL_PAUSE_S), 0.0
        self._connection, self._retry_s = 0, 0.0
        self._unheard_said = False

    # What the broker answered.

    def answered(self, row_id: str, model: type[Message], code: int, reason: str) -> None:
        """Take in the answer to a row; `record` writes it."""
        self._suspects.clear(row_id)
        if code in FOR_THE_MOMENT:
            self._paused_until_s = self._monotonic() + self._pauses.next_s()
            if self._postponed.add(row_id):
                self._say_refused(model, row_id, reason, "Kept, and tried again by itself")
            return
        self._postponed.clear(row_id)
        if code < FAILURE:
            self._pauses.reset()
        if model is Result and code == NO_SUBSCRIBERS:
            self._settle(row_id, Settlement("unheard"))
            self._say_unheard()
        elif code >= FAILURE:
            self._refuse(row_id, model, reason)
        else:
            self._settle(row_id, Settlement("taken"))
            self._unheard_said = self._unheard_said and model is not Result

    def ended_connection(self, models: dict[str, type[Message]], reason: str) -> None:
        """Note the rows, by identifier, that were unanswered as the connection ended.

        Set aside one that ended two.
        """
        aside = self._suspects.ended(list(models))
        if aside is not None:
            self._refuse(aside, models[aside], f"the connection ended twice while it alone was on its way. {reason}")

    def broker_was_away(self) -> None:
        """Suspect no row of what the broker itself was the reason for."""
        self._suspects.clear_all()

    def too_large(self, row: Row, limit_bytes: int) -> None:
        """Keep a row from being sent that is larger than the broker takes."""
        self._refuse(
            row.id, MODELS[row.kind],
            f"it has {len(row.payload.encode())} bytes, and the broker takes packets of {limit_bytes} (Maximum Packet "
            "Size); raise the limit there",
        )  # fmt: skip

    def _refuse(self, row_id: str, model: type[Message], reason: str) -> None:
        if model is Result:
            self._settle(row_id, Settlement("refused", reason))
            self._say_refused(model, row_id, reason, "Kept; send it by `sicklescope resend`")
        else:
            log.error("a stored %s message was refused and is dropped: %s", model.kind, reason)
            self._settle(row_id, Settlement("taken"))
            self._pending.drop(1)

    def _settle(self, row_id: str, answer: Settlement) -> None:
        if not self._unwritten:
            self._unwritten_s = self._monotonic()
        self._unwritten[row_id] = answer

    def record(self, at_once: bool) -> float:
        """Write the answers as one commit, when it is time; return the seconds until then."""
        if not self._unwritten:
            return _NEVER_S
        wait_s = self._unwritten_s + _COMMIT_S - self._monotonic()
        if not at_once and len(self._unwritten) < BATCH and wait_s > 0:
            return wait_s
        self._outbox.settle(self._unwritten)
        self._unwritten.clear()
        self._pending.ask_index()
        return _NEVER_S

    # What comes next.

    def begin(self, connection: int) -> None:
        """Make pending again what nobody subscribed to, on a new connection and from time to time."""
        now = self._monotonic()
        if connection != self._connection or now >= self._retry_s:
            left = self._outbox.retry_unheard()
            if left:
                self._say(
                    "result_unheard",
                    f"{left} results to which nobody subscribes have left the outbox for want of room. The device has "
                    "them yet: …/results lists them, and the command resend sends them",
                )
            self._connection, self._retry_s = connection, now + UNHEARD_RETRY_S

    def next(self, on_their_way: set[str]) -> tuple[Row | None, float]:
        """Return the next row as it leaves now, or None and the seconds until there may be one.

        Args:
            on_their_way: identifiers of the rows that wait for their answer.
        """
        now = self._monotonic()
        if now < self._paused_until_s:
            return None, self._paused_until_s - now
        if self._suspects and on_their_way:
            return None, _NEVER_S  # a suspect goes alone
        wait_s = self._read_ahead(on_their_way)
        while self._ahead:
            row = self._ahead[0]
            if not row.whole:
                self._ahead.popleft()
                self._put_aside(row)
                continue
            row = _addressed(row)
            payload, historical = self._compose.dated(row.payload)
            if historical:
                if now < self._next_s:
                    return None, self._next_s - now
                self._next_s = now + self._interval_s
            self._ahead.popleft()
            return replace(row, payload=payload), 0.0
        return None, wait_s

    def _read_ahead(self, on_their_way: set[str]) -> float:
        """Read rows unless some were read just now; return the seconds until one that was postponed is due."""
        now = self._monotonic()
        if self._ahead and now - self._read_s < _FRESH_S and self._ahead[0].kind == RESULT:
            return _NEVER_S
        busy = on_their_way | self._unwritten.keys()
        rows = self._outbox.pending(BATCH + len(busy) + len(self._postponed))
        self._suspects.keep_only({row.id for row in rows})
        waits = {row.id: self._postponed.wait_s(row.id) for row in rows}
        self._ahead = deque(row for row in rows if row.id not in busy and not waits[row.id])
        self._read_s = now
        return min((wait_s for wait_s in waits.values() if wait_s), default=_NEVER_S)

    def _put_aside(self, row: Row) -> None:
        """Keep a damaged result out of the way, for it must not arrive altered; other damaged messages are nothing.

        Where the sample store has it whole, it is taken from there.
        """
        if self._outbox.mend(row.id):
            log.warning("result %s is damaged in the outbox, and was taken from the sample store again", row.id)
        elif row.kind not in KEPT:
            self._outbox.mark_refused(row.id, "damaged on the disk")
            self._say("storage", f"result {row.id} is damaged on the disk; it is kept, and not sent")
        else:
            self._outbox.delete(row.id)
            self._pending.drop(1)

    def store(self, news: Sequence[Event | Telemetry]) -> int:
        """Store events and telemetry; return how many older ones had to go for them."""
        site, device = self._compose.site, self._compose.device
        return self._outbox.store([News(one.kind, topic(one, site, device), one.to_json()) for one in news])

    # What is told.

    def _say_refused(self, model: type[Message], row_id: str, reason: str, fate: str) -> None:
        text = f"the broker refused {model.kind} {row_id}: {reason}"
        log.error("%s. May this user publish to the topic?", text)
        if model is Result:
            self._say("result_refused", f"{text}. {fate}")

    def _say_unheard(self) -> None:
        """Say once that nobody subscribes to the results, until somebody does."""
        if not self._unheard_said:
            self._unheard_said = True
            text = (
                "the broker took a result to which nobody subscribes. Such results are kept, and sent again every "
                f"{UNHEARD_RETRY_S / 60:.0f} minutes and on each connection. Does the "
                "dashboard subscribe with a session that is kept?"
            )
            log.warning("%s", text)
            self._say("result_unheard", text)

    def _say(self, code: str, text: str) -> None:
        self._pending.put_news(self._compose.event("error", code, text))


def _addressed(row: Row) -> Row:
    """Return a row with kind and topic as its payload says, which alone has a checksum."""
    made = json.loads(row.payload)
    kind = made["schema"].split("/")[1]
    return replace(row, kind=kind, topic=topic(MODELS[kind], made["site"], made["device"]))
