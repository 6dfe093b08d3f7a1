"""What Prometheus reads of a collector."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fleet.rows.writer import Written

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0)


class Metrics:
    """The figures of one collector."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        name = "sicklescope_fleet"
        self._messages = Counter(
            f"{name}_messages_total", "Messages written, or here already (repeated)", ["kind", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self._refused = Counter(
            f"{name}_refused_total", "Messages that are not in the tables", ["reason"], registry=self.registry
        )
        self._dropped = Counter(
            f"{name}_progress_dropped_total", "Running counts left out because too much waited", registry=self.registry
        )
        self._delay = Histogram(
            f"{name}_delay_seconds", "From device to row, for devices with a clock", buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._batch = Histogram(f"{name}_batch_seconds", "To write one batch", buckets=_SECONDS, registry=self.registry)
        self._last = Gauge(
            f"{name}_last_write_timestamp_seconds", "When a batch was written last", registry=self.registry
        )
        self._waiting = Gauge(f"{name}_waiting_messages", "Received and not written yet", registry=self.registry)
        self._database = Gauge(f"{name}_database_up", "1 while the database takes rows", registry=self.registry)
        self._broker = Gauge(
            f"{name}_broker_up", "1 while the session is connected", ["session"], registry=self.registry
        )
        self._lost = Gauge(
            f"{name}_sessions_lost", "How often the broker had forgotten a session", ["session"], registry=self.registry
        )
        self._devices = Gauge(f"{name}_devices", "Devices by state", ["site", "state"], registry=self.registry)
        self._missing = Gauge(
            f"{name}_missing_messages", "Numbers of messages that did not come", ["site", "device"],
            registry=self.registry,
        )  # fmt: skip
        self._missing_results = Gauge(
            f"{name}_missing_results", "Results that a device holds and that are not here", ["site", "device"],
            registry=self.registry,
        )  # fmt: skip

    def wrote(self, written: Written, batch_s: float, now_s: float) -> None:
        """Take in what became of a batch."""
        for outcome, counts in (("new", written.new), ("repeated", written.repeated)):
            for kind, messages in counts.items():
                self._messages.labels(kind, outcome).inc(messages)
        for reason, messages in written.refused.items():
            self._refused.labels(reason).inc(messages)
        for delay_s in written.delays_s:
            self._delay.observe(max(delay_s, 0.0))
        self._batch.observe(batch_s)
        self._last.set(now_s)

    def waiting(self, messages: int) -> None:
        """Say how much waits."""
        self._waiting.set(messages)

    def dropped(self) -> None:
        """Count running counts that were left out."""
        self._dropped.inc()

    def database(self, up: bool) -> None:
        """Say whether the database takes rows."""
        self._database.set(up)

    def session(self, name: str, connected: bool, lost: int) -> None:
        """Say how a session is."""
        self._broker.labels(name).set(connected)
        self._lost.labels(name).set(lost)

    def devices(self, states: Iterable[tuple[str, str, int]], missing: Iterable[tuple[str, str, int, int]]) -> None:
        """Show devices by site and state, and what is missing by site and device."""
        self._devices.clear()
        for site, state, number in states:
            self._devices.labels(site, state).set(number)
        self._missing.clear()
        self._missing_results.clear()
        for site, device, messages, results in missing:
            self._missing.labels(site, device).set(messages)
            self._missing_results.labels(site, device).set(results)
