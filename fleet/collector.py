"""From the broker into the database: takes batches, writes each, and acknowledges it afterwards."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from edge.publish.message_base import ROOT
from edge.publish.messages import Birth, Event, Reply, Status, Telemetry
from edge.publish.result_messages import Progress, Result, ResultIndex
from edge.system.backoff import Backoff
from fleet.config import FleetConfig
from fleet.database.base import Database, DatabaseError
from fleet.database.schema import VERSION
from fleet.inbox import Inbox
from fleet.metrics import Metrics
from fleet.missing import count_missing
from fleet.rows.writer import Writer
from fleet.subscription import Subscription, Taken

log = logging.getLogger(__name__)

LINGER_S = 0.1
"""How long a message waits for others to be written with it."""

RETRY_S = (0.5, 30.0)
"""Pause before the database is tried again, first and at most."""

SHOWN_S = 30.0
"""How often the devices are counted for Prometheus."""

TIDIED_S = 3600.0
"""How often partitions are made ahead, and old ones dropped."""

QUIET_S = 5.0
"""A session that gave nothing for so long has given all that it kept."""

_DAY_MS = 86_400_000
_DAY_S = 86_400


class Collector:
    """One of the collectors that share the messages of a programme."""

    def __init__(self, config: FleetConfig, database: Database, leaving: bool = False) -> None:
        """Set up a collector; leaving: it takes what its sessions kept and ends them."""
        self._config, self._database, self._leaving = config, database, leaving
        self.metrics = Metrics()
        self._writer = Writer(database, config.database.kept_days)
        self._taken = Inbox()
        self._stopping = threading.Event()
        self._backoff = Backoff(*RETRY_S)
        self._fault = ""
        self._shown_s = self._tidied_s = float("-inf")
        self.sessions = [self._session(name, topics) for name, topics in self._topics().items()]

    def _topics(self) -> dict[str, list[tuple[str, int]]]:
        """Return the filters of each session: results have their own, so telemetry never fills its queue.

        Results come to every collector, and are rows once: they are few, and Mosquitto forgets shared subscriptions
        when it is started again (docs/brokers.md). States and births come to every collector too, for a shared
        subscription gets no retained messages; with QoS 0, so that none comes late.
        """
        shared = f"$share/{self._config.collector.group}/{ROOT}/+/+"
        return {
            "results": [(f"{ROOT}/+/+/{Result.kind}", 1)],
            "news": [
                *((f"{shared}/{model.kind}", 1) for model in (Telemetry, Event, Reply)),
                (f"{shared}/{Progress.kind}", 0),
                *((f"{ROOT}/+/+/{model.kind}", 0) for model in (Status, Birth, ResultIndex)),
            ],
        }

    def _session(self, name: str, topics: Sequence[tuple[str, int]]) -> Subscription:
        own = self._config.collector
        return Subscription(
            self._config.mqtt, f"sicklescope-{own.group}-{own.name}-{name}", topics, self._take,
            session_s=own.session_days * _DAY_S, window=own.batch, leaving=self._leaving,
        )  # fmt: skip

    def _take(self, taken: Taken) -> None:
        if not taken.mid and len(self._taken) > 10 * self._config.collector.batch:
            self.metrics.dropped()
            return
        self._taken.put(taken)

    def stop(self) -> None:
        """End `run` after the batch that is being written; any thread may call it."""
        self._stopping.set()

    def run(self) -> None:
        """Collect until `stop`, or, when leaving, until the sessions gave all that they kept.

        Raises ConfigError for tables of a newer collector and for a certificate that cannot be used.
        """
        for session in self.sessions:
            session.start()
        try:
            self._until_done(lambda: self._database.create(VERSION))
            heard_s = time.monotonic()
            while not self._stopping.is_set():
                batch = self._gathered()
                if batch:
                    self._until_done(partial(self._write, batch))
                    heard_s = time.monotonic()
                self._look_after()
                if (
                    self._leaving
                    and time.monotonic() - heard_s > QUIET_S
                    and all(one.connected for one in self.sessions)
                ):
                    return
        finally:
            for session in self.sessions:
                session.close()
            self._database.close()

    def _gathered(self) -> list[Taken]:
        """Return what came, up to a batch; a message waits for others only for a moment."""
        batch: list[Taken] = []
        deadline_s = time.monotonic() + 2 * LINGER_S
        while len(batch) < self._config.collector.batch:
            one = self._taken.take(max(deadline_s - time.monotonic(), 0.0))
            if one is None:
                break
            batch.append(one)
            if len(batch) == 1:
                deadline_s = time.monotonic() + LINGER_S
        return batch

    def _write(self, batch: Sequence[Taken]) -> None:
        began_s = time.monotonic()
        written = self._writer.write([one.arrival for one in batch])
        for one in batch:
            one.acknowledge()
        self.metrics.wrote(written, time.monotonic() - began_s, time.time())
        for reason, messages in written.refused.items():
            log.warning("%d messages refused: %s. See the view refusals_by_reason", messages, reason)

    def _until_done(self, work: Callable[[], None]) -> None:
        """Do what needs the database, again and again until it is done; meanwhile the broker keeps the rest."""
        while not self._stopping.is_set():
            try:
                work()
            except DatabaseError as error:
                self.metrics.database(up=False)
                if str(error) != self._fault:
                    self._fault = str(error)
                    log.error("%s. Nothing is acknowledged until it takes rows again", error)
                self._stopping.wait(self._backoff.next_s())
                continue
            self._backoff.reset()
            self._fault = ""
            self.metrics.database(up=True)
            return

    def _look_after(self) -> None:
        """Show how things are, make partitions ahead, and drop those that are too old."""
        now_s = time.monotonic()
        self.metrics.waiting(len(self._taken))
        for one in self.sessions:
            self.metrics.session(one.client_id, one.connected, one.sessions_lost)
        try:
            if now_s - self._shown_s > SHOWN_S:
                self._shown_s = now_s
                count_missing(self._database, time.time_ns() // 1_000_000)
                self.metrics.devices(
                    self._database.rows("SELECT site, state, count(*) FROM devices_now GROUP BY site, state"),
                    self._database.rows("SELECT site, device, messages_missing, results_missing FROM missing"),
                )
            if now_s - self._tidied_s > TIDIED_S:
                self._tidied_s = now_s
                self._tidy()
        except DatabaseError as error:
            log.warning("%s", error)

    def _tidy(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        self._database.prepare({now_ms, now_ms + _DAY_MS})
        for table, days in self._config.database.kept_days.items():
            gone = self._database.forget(table, now_ms - days * _DAY_MS)
            if gone:
                log.info("%s older than %d days removed", table, days)
