"""Between camera and reader: nothing lost where the source waits, the newest where it does not, and errors arrive."""

from __future__ import annotations

import threading
import time

import pytest

from edge.camera.capture_thread import Mailbox, capturing
from edge.errors import CameraError
from edge.types import Frame
from tests.edge.service.service_parts import Scripted, unplugged_after


def taken(mailbox: Mailbox, pause_s: float = 0.0) -> list[int]:
    indices = []
    while not mailbox.ended:
        item = mailbox.take(1.0)
        if isinstance(item, Frame):
            indices.append(item.index)
            time.sleep(pause_s)
    return indices


def test_a_source_that_waits_loses_nothing() -> None:
    with capturing(Scripted(lambda _: None, frames=50), reconnect_s=0.0, join_s=1.0) as mailbox:
        assert taken(mailbox, 0.001) == list(range(50))
        assert (mailbox.sent, mailbox.dropped) == (50, 0)


def test_of_a_live_source_a_slow_reader_gets_the_newest_and_the_rest_are_counted() -> None:
    camera = Scripted(lambda _: time.sleep(0.002), live=True, frames=100)
    with capturing(camera, reconnect_s=0.0, join_s=1.0) as mailbox:
        seen = taken(mailbox, 0.02)
    assert seen == sorted(seen)
    assert seen[-1] == 99
    assert mailbox.dropped > 0
    assert len(seen) + mailbox.dropped == mailbox.sent == 100


def test_what_was_captured_before_an_error_is_taken_before_it_is_raised() -> None:
    with capturing(Scripted(unplugged_after(3)), reconnect_s=0.0, join_s=1.0) as mailbox:
        taken = [mailbox.take(1.0) for _ in range(3)]
        assert [frame.index for frame in taken if isinstance(frame, Frame)] == [0, 1, 2]
        with pytest.raises(CameraError, match="stopped giving frames"):
            mailbox.take(1.0)
        assert not mailbox.ended


def test_a_mistake_in_a_camera_does_not_vanish_with_its_thread() -> None:
    def broken(_: int) -> None:
        raise ZeroDivisionError

    with capturing(Scripted(broken), reconnect_s=0.0, join_s=1.0) as mailbox, pytest.raises(ZeroDivisionError):
        mailbox.take(1.0)


def test_leaving_frees_a_sender_that_waits() -> None:
    before = threading.active_count()
    with capturing(Scripted(lambda _: None), reconnect_s=0.0, join_s=1.0) as mailbox:
        mailbox.take(1.0)
    assert threading.active_count() == before


def test_no_frame_in_time_is_not_the_end() -> None:
    with capturing(Scripted(lambda _: time.sleep(0.2), frames=1), reconnect_s=0.0, join_s=1.0) as mailbox:
        assert mailbox.take(0.01) is None
        assert not mailbox.ended
        assert taken(mailbox) == [0]
