"""Clients that hold connections open, or ask without end, cost the device next to nothing."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from edge.api import limits
from edge.api.server import serving
from edge.api.unix_socket import NAME

ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(limits, "IDLE_S", 0.5)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    with serving(Starlette(routes=[Route("/", answer)]), tmp_path, None):
        yield str(tmp_path / NAME)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answer(_: Request) -> PlainTextResponse:
    return PlainTextResponse("here")


def opened(address: str) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(60)
    client.connect(address)
    return client


def asked(address: str) -> bytes:
    with opened(address) as client:
        client.sendall(ASK)
        return b"".join(iter(lambda: client.recv(4096), b""))


def test_a_thousand_idle_connections_do_not_keep_anyone_out(address: str) -> None:
    """Kind: connections that ask for nothing used up the descriptors of the service, and ended it."""
    idle = [opened(address) for _ in range(1200)]
    assert asked(address).startswith(b"HTTP/1.1 200")
    assert idle[0].recv(1) == b"", "the oldest were closed"
    for client in idle:
        client.close()


def test_a_request_that_never_ends_is_ended(address: str) -> None:
    """Kind: a byte now and then kept a connection open without end."""
    with opened(address) as client:
        client.sendall(ASK[:20])
        assert trickled(client) < 5


def trickled(client: socket.socket) -> float:
    """Send a byte now and then until the device ends the connection; return after how many seconds it did."""
    began = time.monotonic()
    while time.monotonic() - began < 10:
        try:
            client.sendall(b"x")
        except OSError:
            break
        time.sleep(0.05)
    return time.monotonic() - began


def test_busy_clients_get_what_there_is_and_wait_for_the_rest(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUESTS_PER_S", 50.0)
    began = time.monotonic()
    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(asked, [address] * 60))
    assert all(one.startswith(b"HTTP/1.1 200") for one in answers)
    assert time.monotonic() - began > 59 / 50


def test_who_would_wait_too_long_is_told_to_come_again(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REQUESTS_PER_S", 0.1)
    assert asked(address).startswith(b"HTTP/1.1 200")
    refused = asked(address)
    assert refused.startswith(b"HTTP/1.1 503")
    assert b"ask again" in refused
