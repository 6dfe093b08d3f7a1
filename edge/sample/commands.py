"""What people and programs ask of a device, and the way to the one thread that does it, between two frames."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from edge.errors import CommandError, EdgeError, SampleError
from edge.sample.lifecycle import Samples
from edge.sample.store import StoredSample

log = logging.getLogger(__name__)

LONGEST_BYTES = 65536
"""Of a command."""

STOPPED = "it was stopped before its target"

ANSWER_S = 30.0
"""How long an order waits to be done: networks, a slow disk or a hanging camera may hold the reading thread."""

Words = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Who = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class _Order(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    by: Who
    """Who asks, as the clinic calls its staff; stored, never published."""


class Start(_Order):
    """Begin to scan a sample."""

    command: Literal["start"]
    sample: Name
    """Its code."""


class Stop(_Order):
    """End the scanning of the sample at hand."""

    command: Literal["stop"]


class _OfSample(_Order):
    sample: Name
    """Its identifier, or its code: then the newest with that code."""
    reason: Words = ""
    """Why; never a patient's name."""


class Discard(_OfSample):
    """Say that a sample is not to be used."""

    command: Literal["discard"]


class Reopen(_OfSample):
    """Bring a sample a step back: final → review, discarded → incomplete, review or incomplete → scanning."""

    command: Literal["reopen"]


class Review(_OfSample):
    """Say what cells are; `done` ends the review and publishes it."""

    command: Literal["review"]
    cells: dict[Annotated[int, Field(ge=0, strict=False)], Name] = Field(default_factory=dict, max_length=5000)
    """Class by the cell's number."""
    done: bool = False


class Erase(_OfSample):
    """Erase all that is kept of a sample."""

    command: Literal["erase"]


Order = Start | Stop | Discard | Reopen | Review | Erase

_ORDERS: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="command")])

Answer = dict[str, Any]
"""What came of an order: flat, for JSON."""


def parse(text: bytes) -> Order:
    """Return the order that a JSON text gives; raises CommandError, which says what is wrong with it."""
    if len(text) > LONGEST_BYTES:
        raise CommandError(f"the command has {len(text)} bytes; at most {LONGEST_BYTES} are read")
    try:
        return _ORDERS.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise CommandError(f"the command cannot be read: {where}: {first['msg']}. See docs/sample.md") from error


def told(sample: StoredSample) -> Answer:
    """Return what is told of a sample after an order."""
    return {"id": sample.id, "sample": sample.code, "state": sample.state, "reason": sample.reason}


def perform(samples: Samples, order: Order) -> Answer:
    """Do what needs no camera, in whichever program; raises SampleError where it does need the running service."""
    if isinstance(order, Discard):
        return told(samples.discard(order.sample, order.by, order.reason))
    if isinstance(order, Review):
        return told(samples.review(order.sample, order.cells, order.by, order.reason, order.done))
    if isinstance(order, Erase):
        return {"id": samples.erase(order.sample, order.by, order.reason), "state": "erased"}
    if isinstance(order, Reopen) and samples.store.find(order.sample).state in ("final", "discarded"):
        return told(samples.reopen(order.sample, order.by, order.reason))
    if isinstance(order, Stop):
        return told(samples.stop_unread(STOPPED, order.by))
    raise SampleError(
        "no service runs that could scan, or it is in safe mode. Start it: `sicklescope run`, or systemctl start "
        "sicklescope; `systemctl status sicklescope` tells what it lacks"
    )


class Orders:
    """Orders on their way from any thread to the one that reads frames."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Order, Future[Answer]]] = deque()
        self._closed = False

    def hand_in(self, order: Order) -> Future[Answer]:
        """Hand an order in, and return what will hold its answer or error."""
        future: Future[Answer] = Future()
        self._waiting.append((order, future))
        if self._closed:
            self.close()
        return future

    def ask(self, order: Order) -> Answer:
        """Hand an order in and wait for what comes of it; raises its error, or CommandError when nobody does it."""
        future = self.hand_in(order)
        try:
            return future.result(ANSWER_S)
        except LateError as error:
            future.cancel()
            raise CommandError(
                f"the device has not answered for {ANSWER_S:g} s: its camera or disk may hang. Ask for its state"
            ) from error

    def work_off(self, do: Callable[[Order], Answer]) -> None:
        """Do what waits, in its order; called by the reading thread. An error goes to who asked, and nowhere else."""
        while self._waiting:
            order, future = self._waiting.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(do(order))
            except EdgeError as error:
                log.warning("%s of %s: %s", order.command, order.by, error)
                future.set_exception(error)

    def close(self) -> None:
        """Refuse what waits and what comes: nobody works it off any more."""
        self._closed = True

        def refuse(_: Order) -> Answer:
            raise CommandError("the service is stopping")

        self.work_off(refuse)
