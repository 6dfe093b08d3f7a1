"""Orders at random, and the service killed in the midst of one: what was answered has happened, and nothing else."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

import pytest

from edge.errors import EdgeError, SampleError
from edge.sample.commands import Command, Discard, Erase, Reopen, Start, Stop
from edge.sample.lifecycle import Lifecycle
from edge.service.service import resend
from edge.storage.database import Database, database_path
from tests.edge.publish.publish_parts import composer
from tests.edge.service.service_parts import configured
from tests.faults.device import digest
from tests.faults.disk import Disk
from tests.faults.parts import scaled, told
from tests.faults.reading import Reading
from tests.mosquitto import Listener, Mosquitto, wait_for

pytestmark = pytest.mark.faults

GONE = "erased"
AFTER_REOPEN = {"review": "scanning", "incomplete": "scanning", "final": "review", "discarded": "incomplete"}


class Clinic:
    """What a person who gives orders knows: the state of each sample as it was answered."""

    def __init__(self, chance: random.Random) -> None:
        self.states: dict[str, str] = {}
        self.given: Counter[str] = Counter()
        self._chance, self._number = chance, 0

    def order(self) -> tuple[Command, str, set[str]]:
        """Return an order that is possible, the sample that it is of, and the states that may follow."""
        scanned = [code for code, state in self.states.items() if state == "scanning"]
        others = [code for code, state in self.states.items() if state not in ("scanning", GONE)]
        possible = ["stop"] * 2 if scanned else ["start"] * 2
        possible += ["discard", "erase", "reopen", "reopen", "reopen"] if len(others) > 1 else []
        what = self._chance.choice(possible)
        code = scanned[0] if scanned else ""
        if what == "start":
            self._number += 1
            code = f"ORDER-{self._number:04d}-XQ"
            return Start(command="start", by="nurse", sample=code), code, {"scanning"}
        if what == "stop":
            return Stop(command="stop", by="nurse"), code, {"review", "incomplete"}
        code = self._chance.choice(others)
        if what == "discard" and self.states[code] != "discarded":
            return Discard(command="discard", by="nurse", sample=code), code, {"discarded"}
        if what == "erase":
            return Erase(command="erase", by="nurse", sample=code), code, {GONE}
        after = AFTER_REOPEN[self.states[code]]
        if after == "scanning" and scanned:
            return Stop(command="stop", by="nurse"), scanned[0], {"review", "incomplete"}
        return Reopen(command="reopen", by="nurse", sample=code), code, {after}


def kept(state: Path) -> tuple[dict[str, str], str]:
    """Return the state of each sample on the disk, and in words what is not whole."""
    path = state / "sicklescope.sqlite3"
    with Database(path) as database:
        lifecycle = Lifecycle(configured(state, 1), database, composer())
        samples = lifecycle.store.newest(-1)
        return {one.code: one.state for one in samples}, "".join(map(lifecycle.damage, samples))


def check_what_is_kept(clinic: Clinic, state: Path, doubtful: str, may_follow: set[str]) -> None:
    """Compare the disk after a kill with what was answered; take over what came of the order in doubt."""
    found, damage = kept(state)
    assert not damage
    for code in {*clinic.states, doubtful}:
        expected = {clinic.states.get(code, GONE)} | (may_follow if code == doubtful else set())
        assert found.get(code, GONE) in expected, f"{code} was answered to be {expected}"
        clinic.states[code] = found.get(code, GONE)


def live(clinic: Clinic, reading: Reading, end: Callable[[], None], chance: random.Random) -> tuple[str, set[str]]:
    """Give some orders, and end the service in the midst of the last; return the sample and what may follow."""
    for _ in range(chance.randrange(3, 9)):
        order, code, after = clinic.order()
        answer = reading.ask(order)
        assert answer["state"] in after
        clinic.states[code] = answer["state"]
        clinic.given[order.command] += 1
    order, code, after = clinic.order()

    def give() -> None:
        with suppress(EdgeError, AssertionError):
            reading.ask(order)

    asking = threading.Thread(target=give)
    asking.start()
    time.sleep(chance.uniform(0, 0.03))
    end()
    asking.join(70)
    clinic.given[order.command] += 1
    return code, after


def end(reading: Reading, disk: Disk | None) -> None:
    """End the service at this very moment, with the power where it has a disk of its own."""
    if disk:
        disk.cut(reading.pid)
    reading.kill()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("power", [False, True])
def test_what_was_ordered_and_answered_has_happened_whenever_the_service_dies(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path, power: bool
) -> None:
    """Kind: an answer that is no fact. In 0.6.0 a sample that was stopped went on by itself on the next slide."""
    broker, chance = start_mosquitto(), random.Random(17)
    deaths = scaled(2, 40 if power else 100)
    clinic = Clinic(chance)
    with Disk(tmp_path) if power else nullcontext() as disk, Listener(broker.host, broker.port) as dashboard:
        state = (disk.root if disk else tmp_path) / "state"
        for _ in range(deaths):
            with Reading(tmp_path, state, broker.port, 0, "one boot") as reading:
                # The first order is worked off when what the end interrupted is settled, a stop that was noted too.
                with pytest.raises(SampleError, match="no such sample"):
                    reading.ask(Erase(command="erase", by="nurse", sample="NO-SUCH"))
                before = dict(clinic.states)
                found, _ = kept(state)
                for code, answered in before.items():
                    # A stop that was not answered may have been noted: then the sample does not go on.
                    also = {"incomplete"} if answered == "scanning" else set()
                    assert found.get(code, GONE) in {answered} | also, code
                    clinic.states[code] = found.get(code, GONE)
                doubt = live(clinic, reading, partial(end, reading, disk), chance)
            if disk:
                disk.restore()
            check_what_is_kept(clinic, state, *doubt)
        resend(configured(state, broker.port))
        with Database(database_path(configured(state, broker.port))) as database:
            stored = {key: digest(json.loads(text)) for key, text in database.read("SELECT id, payload FROM results")}
        wait_for(lambda: {one["id"] for one in dashboard.of("result")} >= set(stored), 60)
        came = {one["id"]: digest(one) for one in dashboard.of("result")}
        assert {key: came[key] for key in stored} == stored
        revisions: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        for one in dashboard.of("result"):
            revisions[one["sample_id"], one["revision"]].add(one["id"])
        assert not [key for key, ids in revisions.items() if len(ids) > 1]
        files = b"".join(path.read_bytes() for path in state.glob("sicklescope.sqlite3*"))
        erased = [code for code, kept_as in clinic.states.items() if kept_as == GONE]
        assert not [code for code in erased if code.encode() in files]
    told(
        f"orders and {'power cuts' if power else 'kills'}", deaths=deaths, samples=len(clinic.states),
        erased=len(erased), results=len(stored), **clinic.given,
    )  # fmt: skip
