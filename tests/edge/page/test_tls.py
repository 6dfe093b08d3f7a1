"""The page by TLS, on the real server: who joins, by which name, and clients that never speak."""

from __future__ import annotations

import hashlib
import http.client
import resource
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edge.api.device import Device
from edge.config.model import WebConfig
from edge.diagnosis.doctor import page_certificate_finding
from edge.errors import ConfigError
from edge.page.serve import own_names, served
from edge.page.views.device import fingerprint
from tests.edge.page.page_parts import Site, site
from tests.mosquitto import free_port


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=scope", "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "certificate.pem"


@dataclass
class Reached:
    """A device that is reached by TLS."""

    port: int
    context: ssl.SSLContext

    def get(self, path: str, host: str = "127.0.0.1") -> http.client.HTTPResponse:
        return got(http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=20), path, host)


def got(connection: http.client.HTTPConnection, path: str, host: str = "localhost") -> http.client.HTTPResponse:
    """Ask, and return the answer, read to its end."""
    with closing(connection):
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        return answer


@pytest.fixture
def reached(tmp_path: Path, certificate: Path) -> Iterator[Reached]:
    port = free_port()
    web = WebConfig(port=port, host="127.0.0.1", certificate=certificate, key=certificate.with_name("key.pem"))
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    with site(tmp_path, ("Ada", "operator")) as here, served(_with(here, web)):
        yield Reached(port, context)


def test_a_login_by_tls_has_a_cookie_that_no_other_host_can_set(reached: Reached) -> None:
    answer = reached.get("/login")
    assert answer.status == 200
    assert answer.headers["strict-transport-security"]
    assert reached.get("/login", own_names()[1]).status == 200
    assert reached.get("/login", "evil.example").status == 400
    assert reached.get("/").status == 303


def test_a_thousand_connections_that_never_speak_tls_keep_nobody_out(reached: Reached) -> None:
    """Kind: a connection within TLS's handshake is none that HTTP knows, and each held a descriptor for a minute."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    idle = [socket.create_connection(("127.0.0.1", reached.port), timeout=10) for _ in range(1000)]
    try:
        assert reached.get("/login").status == 200
        assert idle[0].recv(1) == b"", "the oldest were closed"
    finally:
        for one in idle:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_fingerprint_is_the_one_that_a_browser_shows(certificate: Path) -> None:
    der = subprocess.run(["openssl", "x509", "-in", certificate, "-outform", "DER"], check=True, capture_output=True)
    assert fingerprint(certificate).replace(":", "").lower() == hashlib.sha256(der.stdout).hexdigest()
    assert fingerprint(certificate.with_name("nowhere.pem")) == ""


def test_without_a_user_no_other_device_is_let_in(tmp_path: Path, certificate: Path) -> None:
    port = free_port()
    web = WebConfig(port=port, host="0.0.0.0", certificate=certificate, key=certificate.with_name("key.pem"))  # noqa: S104
    with site(tmp_path) as here, served(_with(here, web)):
        assert got(http.client.HTTPConnection("127.0.0.1", port, timeout=20), "/").status == 200
        with socket.socket() as elsewhere, pytest.raises(OSError, match="refused"):
            elsewhere.connect(("127.0.0.2", port))


def _with(here: Site, web: WebConfig) -> Device:
    return replace(here.device, config=here.device.config.model_copy(update={"web": web}))


def test_a_wrong_certificate_is_told_by_name(tmp_path: Path, certificate: Path) -> None:
    web = WebConfig(port=free_port(), host="127.0.0.1", certificate=certificate, key=certificate)
    with site(tmp_path, ("Ada", "operator")) as here:
        device = _with(here, web)
        with pytest.raises(ConfigError, match=r"web\.certificate"), served(device):
            pass


@pytest.mark.parametrize(
    ("days", "state", "words"),
    [(0, "warning", "it ends on"), (3, "warning", "browsers warn of the page"), (-60, "ok", "it ends on")],
)
def test_the_end_of_the_pages_certificate_is_found(certificate: Path, days: int, state: str, words: str) -> None:
    """The certificate holds for two days; now is so many days after it was made."""
    web = WebConfig(port=1, host="127.0.0.1", certificate=certificate, key=certificate.with_name("key.pem"))
    found = page_certificate_finding(web, time.time() + days * 86_400)
    assert (found.state, words in found.text) == (state, True)
    assert page_certificate_finding(WebConfig(), time.time()).state == "absent"
