"""Requests made up from the API's own description: no fault of the program, and no answer without a login."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from edge.api.http import application
from tests.edge.page.page_parts import PASSWORD, Site, site

EXAMPLES = 12
"""For each operation."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("device"), ("Ada", "reviewer")) as made:
        yield made


def _description(here: Site) -> dict[str, Any]:
    async def asked() -> dict[str, Any]:
        transport = httpx.ASGITransport(application(here.device))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return dict((await client.get("/api/v1/openapi.json")).json())

    return asyncio.run(asked())


async def _answered(here: Site, case: Any, token: str) -> httpx.Response:
    async with here.client() as client:
        client.cookies.set("sicklescope", token)
        given = case.as_transport_kwargs(base_url="http://localhost")
        headers = {str(key): str(value) for key, value in given["headers"].items() if key.lower() != "user-agent"}
        sent = {key: given[key] for key in ("params", "json", "data", "content") if given.get(key) is not None}
        try:
            return await client.request(given["method"], given["url"], headers=headers, **sent)
        except (httpx.InvalidURL, UnicodeEncodeError, TypeError):  # what no client can send
            return httpx.Response(400)


def _ask_each(here: Site, token: str, accepted: tuple[int, ...]) -> None:
    """Make requests up for each operation, and look at the codes of the answers."""
    for found in schemathesis.openapi.from_dict(_description(here)).get_all_operations():
        assert isinstance(found, Ok), found

        @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), deadline=None, database=None)
        @given(case=found.ok().as_strategy())
        def ask(case: Any) -> None:
            answer = asyncio.run(_answered(here, case, token))
            assert answer.status_code in accepted, answer.text

        ask()


def test_no_request_is_a_fault_of_the_program(here: Site) -> None:
    token = here.logins.sign_in("Ada", PASSWORD, "here")
    _ask_each(here, token, (200, 400, 401, 403, 404, 405, 409, 415, 503, 507))


def test_nothing_is_answered_without_a_login(here: Site) -> None:
    _ask_each(here, "", (400, 401, 404, 405))


def test_the_description_tells_commands_and_refusals(here: Site) -> None:
    told = _description(here)
    assert told["openapi"].startswith("3.1")
    body = told["paths"]["/api/v1/command"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"]["mapping"]["review"] == "#/components/schemas/Review"
    assert "Review" in told["components"]["schemas"]
    assert "401" in told["paths"]["/api/v1/state"]["get"]["responses"]
