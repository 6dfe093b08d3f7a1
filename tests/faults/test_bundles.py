"""A bundle is taken in and put to use while the program is killed, or the power goes, at every step on the disk."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edge.runtime import bundle_store
from edge.runtime.bundle_store import BundleStore
from tests.bundles import Workshop, digests_in_use, without_trial
from tests.faults.disk import Disk
from tests.faults.parts import scaled, told

pytestmark = pytest.mark.faults

STEPS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")
"""Audit events of Python at which something may change on the disk (PEP 578)."""


def ended_at(step: int, state: Path, work: Callable[[], object], end: Callable[[], object]) -> bool:
    """Do the work in a process that ends at one of its steps; return whether it came to that."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in STEPS and str(state) in str(arguments[0]):
            count += 1
            if count == step:
                end()
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    work()
    os._exit(0)


class Update:
    """A device with one bundle in use, and another one that comes."""

    def __init__(self, folder: Path) -> None:
        self.shop = Workshop(folder)
        self.old = self.shop.bundle(self.shop.pair("first"), 1)
        self.new = self.shop.bundle(self.shop.pair("second"), 2)

    def prepare(self, state: Path) -> tuple[str, ...]:
        store = self.store(state)
        store.take_in(self.old)
        store.switch()
        store.confirm()
        return digests_in_use(state, self.shop.accepted)

    def store(self, state: Path) -> BundleStore:
        return BundleStore(state, self.shop.accepted)

    def run(self, state: Path) -> None:
        store = self.store(state)
        store.take_in(self.new)
        store.switch()
        store.begin()
        store.confirm()

    def check(self, state: Path, before: tuple[str, ...], after: tuple[str, ...]) -> bool:
        """See that one whole pair is in use, and that the update can be finished; return whether it was the new one."""
        found = digests_in_use(state, self.shop.accepted)
        assert found in (before, after), "half of one pair and half of the other"
        store = self.store(state)
        record = store.record()
        if found == before and not record.waiting:
            store.take_in(self.new)
        store.switch()
        store.confirm()
        assert digests_in_use(state, self.shop.accepted) == after
        return found == after


@pytest.fixture
def update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Update:
    without_trial(monkeypatch)
    monkeypatch.setattr(bundle_store, "SPARE_MB", 0.0)
    (tmp_path / "workshop").mkdir()
    return Update(tmp_path / "workshop")


def whole(update: Update, state: Path) -> tuple[str, ...]:
    shutil.copytree(state, state.with_name("whole"))
    update.run(state.with_name("whole"))
    return digests_in_use(state.with_name("whole"), update.shop.accepted)


@pytest.mark.timeout(1800)
def test_a_kill_at_every_step_leaves_one_whole_pair(update: Update, tmp_path: Path) -> None:
    state = tmp_path / "state"
    before = update.prepare(state)
    after = whole(update, state)
    steps, new, stride = 0, 0, 12 // scaled(2, 12)
    for step in range(1, 1000, stride):
        killed = tmp_path / "killed"
        shutil.copytree(state, killed)
        if not ended_at(step, killed, partial(update.run, killed), lambda: None):
            break
        new += update.check(killed, before, after)
        shutil.rmtree(killed)
        steps += 1
    assert steps * stride > 80, "too few steps were seen"
    assert 0 < new < steps
    told("bundles: kills", steps=steps, new=new)


@pytest.mark.timeout(1800)
def test_a_power_cut_at_a_step_leaves_one_whole_pair(update: Update, tmp_path: Path) -> None:
    before = update.prepare(tmp_path / "state")
    after = whole(update, tmp_path / "state")
    cuts, stride = 0, 12 // scaled(1, 12)
    with Disk(tmp_path, megabytes=64) as disk:
        state = disk.root / "state"
        for step in range(1, 1000, stride):
            shutil.copytree(tmp_path / "state", state)
            os.sync()
            if not ended_at(step, state, partial(update.run, state), disk.cut):
                break
            disk.restore()
            update.check(state, before, after)
            shutil.rmtree(state)
            cuts += 1
    assert cuts >= 3
    told("bundles: power cuts", cuts=cuts)
