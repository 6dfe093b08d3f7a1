"""The published schemas of what a device is sent take what the device takes, and refuse what it refuses."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from edge.api.authentication import Authenticator, sign
from edge.api.mqtt import REMOTE
from edge.bundle.offer import Offer, parse_offer
from edge.errors import CommandError, InputError
from edge.sample.commands import parse
from tests.schemas import schema

TAKEN: list[dict[str, Any]] = [
    {"command": "start", "sample": "K-1042", "by": "ward 3"},
    {"command": "stop", "by": "ward 3", "request": "7"},
    {"command": "discard", "sample": "K-1042", "by": "ward 3", "reason": "broken slide"},
    {"command": "reopen", "sample": "K-1042", "by": "ward 3"},
    {"command": "resend", "first": 1, "last": 7, "by": "board"},
]
REFUSED: list[dict[str, Any]] = [
    {"command": "start", "by": "ward 3"},
    {"command": "start", "sample": "K-1042", "by": "ward 3", "frames": 7},
    {"command": "stop"},
    {"command": "erase", "sample": "K-1042", "by": "ward 3"},
    {"command": "resend", "first": 0, "last": 7, "by": "board"},
    {"command": "reopen", "sample": "K-1042", "by": "two\nlines"},
]


def fits(message: object, described: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(described).is_valid(message)


def taken(order: dict[str, Any]) -> bool:
    try:
        return isinstance(parse(json.dumps(order).encode()), REMOTE)
    except CommandError:
        return False


@pytest.mark.parametrize("order", [*TAKEN, *REFUSED])
def test_an_order_fits_the_schema_if_the_device_takes_it(order: dict[str, Any]) -> None:
    described = schema("mqtt-command")["properties"]["order"]["contentSchema"]
    assert fits(order, described) == taken(order) == (order in TAKEN)


@pytest.mark.parametrize("added", [{}, {"device": "scope-1"}])
def test_a_command_fits_the_schema_if_it_is_authenticated(added: dict[str, Any]) -> None:
    authenticator = Authenticator("sixteen letters!", "sicklescope/v1/a/b/command")
    order = json.dumps(TAKEN[0])
    mac = sign("sixteen letters!", authenticator.topic, authenticator.challenge, order)
    command = {"challenge": authenticator.challenge, "order": order, "mac": mac, **added}
    assert fits(command, schema("mqtt-command")) == (not added)
    if added:
        with pytest.raises(CommandError):
            authenticator.authenticate(json.dumps(command).encode())
    else:
        assert authenticator.authenticate(json.dumps(command).encode()) == order


OFFER = json.loads(Offer(file="models-3.bundle", serial=3, bytes=7, sha256="0" * 64).to_json())


@pytest.mark.parametrize(
    ("changed", "good"), [({}, True), ({"later": 1}, True), ({"file": "../models"}, False), ({"serial": 0}, False)]
)
def test_an_offer_fits_the_schema_if_the_device_takes_it(changed: dict[str, Any], good: bool) -> None:
    offer = OFFER | changed
    assert fits(offer, schema("mqtt-offer")) == good
    if good:
        assert parse_offer(json.dumps(offer).encode())
    else:
        with pytest.raises(InputError):
            parse_offer(json.dumps(offer).encode())
