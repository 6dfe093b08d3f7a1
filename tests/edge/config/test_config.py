"""The configuration: precedence, sources, and an answer for every wrong key."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config.loader import example, load, load_connection, rendered
from edge.config.model import Config
from edge.errors import ConfigError, SampleError
from edge.sample.codes import sample_code

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "sicklescope.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problems(path: Path | None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return str(caught.value).splitlines()[1:]


def test_defaults_need_no_file(write: Write) -> None:
    loaded = load(None, {})
    assert loaded.config == Config()
    assert loaded.path is None
    assert set(loaded.sources.values()) == {"default"}


@pytest.mark.parametrize(
    ("given", "device"), [("0", "0"), ("12", "12"), ('"0"', "0"), ('"/dev/video2"', "/dev/video2")]
)
def test_a_camera_may_be_named_by_its_index(write: Write, given: str, device: str) -> None:
    """Kind: a plain number where text is asked for. 0.6.0 refused `device = 0`."""
    assert load(write(f"[camera]\ndevice = {given}\n")).config.camera.device == device


@pytest.mark.parametrize("given", ["-1", "true", "1.5"])
def test_what_is_no_index_of_a_camera_is_refused(write: Write, given: str) -> None:
    with pytest.raises(ConfigError, match=r"camera\.device"):
        load(write(f"[camera]\ndevice = {given}\n"))


def test_environment_is_over_file_is_over_default_and_each_value_says_which(write: Write) -> None:
    path = write('[mqtt]\nhost = "file"\nport = 1900\n')
    loaded = load(path, {"SICKLESCOPE_MQTT__HOST": "env", "SICKLESCOPE_OPTICS__UM_PER_PX": "0.2", "HOME": "/root"})
    assert (loaded.config.mqtt.host, loaded.config.mqtt.port) == ("env", 1900)
    assert loaded.config.optics.um_per_px == 0.2
    assert loaded.sources["mqtt.host"] == "environment SICKLESCOPE_MQTT__HOST"
    assert loaded.sources["mqtt.port"] == f"{path}:3"
    assert loaded.sources["mqtt.tls"] == "default"


def test_file_is_the_one_named_else_the_environments_else_the_folders(write: Write) -> None:
    named = write("[mqtt]\nport = 1\n", "named.toml")
    variable = write("[mqtt]\nport = 2\n", "variable.toml")
    environ = {"SICKLESCOPE_CONFIG": str(variable)}
    write("[mqtt]\nport = 3\n")
    assert load(named, environ).config.mqtt.port == 1
    assert load(None, environ).config.mqtt.port == 2
    assert load(None, {}).config.mqtt.port == 3


def test_every_wrong_key_is_named_with_found_expected_and_nearest(write: Write) -> None:
    path = write('[mqtt]\nhots = "x"\nport = 0\n[camera]\nkind = "virtul"\num_per_px = 0.2\n[mqtts]\nhost = "y"\n')
    lines = problems(path, {"SICKLESCOPE_MQTT__PROT": "1", "SICKLESCOPE_DATA": "/data"})
    text = "\n".join(lines)
    assert len(lines) == 6, text
    assert f"mqtt.hots ({path}:2): unknown key; nearest valid name: mqtt.host" in text
    assert f"mqtt.port ({path}:3) = 0: expected greater than or equal to 1" in text
    assert "camera.kind" in text
    assert "'virtul': expected 'virtual', 'replay', 'opencv'" in text
    assert "; nearest: 'virtual'" in text
    assert f"camera.um_per_px ({path}:6): unknown key; nearest valid name: optics.um_per_px" in text
    assert "mqtts: unknown key; nearest valid name: mqtt" in text
    assert "SICKLESCOPE_MQTT__PROT means nothing; nearest valid name: SICKLESCOPE_MQTT__PORT" in text


def test_wrong_value_of_the_environment_names_the_variable(write: Write) -> None:
    assert "environment SICKLESCOPE_MQTT__PORT" in problems(None, {"SICKLESCOPE_MQTT__PORT": "many"})[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt = 5", "mqtt"),
        ("models.detector = 4", "a table, [models.detector]"),
        ('[mqtt]\ncert_file = "a"', "belong together"),
        ('[mqtt]\npassword = "x"', "needs a username"),
        ("[camera]\nfps = nan", "finite"),
        ("[camera]\nread_timeout_s = inf", "finite"),
        ('[device]\nsite = "two words"', "match pattern"),
        ('[device]\nstate_dir = "a\\u0000b"', "NUL"),
        ('[device]\nstate_dir = "~nobody-here/x"', "home directory"),
        ('[optics]\num_per_px = "auro"', "'auto'"),
    ],
)
def test_wrong_values_are_explained(write: Write, text: str, expected: str) -> None:
    assert expected in "\n".join(problems(write(text)))


def test_environment_cannot_hide_a_table_that_is_none(write: Write) -> None:
    assert "mqtt" in problems(write("mqtt = 5"), {"SICKLESCOPE_MQTT__PORT": "1883"})[0]


@pytest.mark.parametrize("text", ["[mqtt", "a = " + "[" * 5000, "a = " + "9" * 5000, 'a = "\x00"'])
def test_what_is_not_toml_is_refused_with_the_files_name(write: Write, text: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError, match=r"sicklescope\.toml"):
        load(path, {})


def test_a_file_that_is_absent_binary_or_a_folder_is_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "absent.toml", binary, tmp_path):
        with pytest.raises(ConfigError, match=r"cannot be read"):
            load(path, {})


def test_paths_of_a_file_are_relative_to_it_and_those_of_the_environment_are_not(write: Write, tmp_path: Path) -> None:
    path = write(
        '[models.detector]\npath = "m/d.onnx"\n[models.classifier]\npath = "/c.onnx"\n'
        '[device]\nstate_dir = "~/s"\n[camera]\nkind = "replay"\ndevice = "fields"\n[mqtt]\nhost = "h"\n',
        "etc/s.toml",
    )
    loaded = load(path, {"SICKLESCOPE_MQTT__CA_FILE": "ca.pem"})
    assert loaded.config.models.detector.path == tmp_path / "etc/m/d.onnx"
    assert loaded.config.models.classifier.path == Path("/c.onnx")
    assert loaded.config.device.state_dir == Path.home() / "s"
    assert loaded.config.camera.device == str(tmp_path / "etc/fields")
    assert loaded.config.mqtt.ca_file == Path("ca.pem")


def test_secrets_are_shown_nowhere(write: Write) -> None:
    path = write('[mqtt]\nusername = "u"\npassword = "hunter2"\n')
    shown = rendered(load(path, {}))
    assert "hunter2" not in shown
    assert "********" in shown
    wrong = "\n".join(problems(write("[mqtt]\npassword = 42424242\npasswort = 'hunter2'\n"), {}))
    assert "42424242" not in wrong
    assert "hunter2" not in wrong
    assert "mqtt.passwort" in wrong
    assert "nearest valid name: mqtt.password" in wrong


def test_a_credential_of_systemd_is_over_the_file_and_under_the_environment(write: Write, tmp_path: Path) -> None:
    path = write('[mqtt]\nusername = "u"\npassword = "of-the-file"\n')
    (tmp_path / "mqtt.password").write_text("of-systemd\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}

    def password(environ: dict[str, str]) -> tuple[str, str]:
        loaded = load(path, environ)
        assert loaded.config.mqtt.password is not None
        return loaded.config.mqtt.password.get_secret_value(), loaded.sources["mqtt.password"]

    assert password(environ) == ("of-systemd", "credential mqtt.password")
    assert password(environ | {"SICKLESCOPE_MQTT__PASSWORD": "env"})[0] == "env"
    (tmp_path / "mqtt.password").write_text("\n")  # as installed: none
    assert password(environ)[0] == "of-the-file"
    (tmp_path / "mqtt.password").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"credential mqtt\.password cannot be read: UnicodeDecodeError"):
        load(path, environ)


def test_the_broker_can_be_read_where_the_rest_is_wrong(write: Write) -> None:
    path = write('[mqtt]\nhost = "broker"\n[camera]\nkinds = 1\n[cameras]\n')
    assert load_connection(path, {"SICKLESCOPE_DEVICE__SITE": "lab"}).device.site == "lab"
    assert load_connection(path, {}).mqtt.host == "broker"
    with pytest.raises(ConfigError, match=r"mqtt\.hots"):
        load_connection(write("[mqtt]\nhots = 1\n"), {})


def test_what_is_printed_can_be_read_again(write: Write) -> None:
    original = load(write('[mqtt]\nusername = "a\\u007fb \\"é\\\\"\nport = 1900\n[camera]\nwidth = 640\n'), {})
    again = load(write(rendered(original), "again.toml"), {})
    assert again.config == original.config


def test_the_example_is_the_codes_own_and_gives_the_defaults(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "sicklescope.example.toml"
    assert shipped.read_text("utf-8") == example(), "run: make schemas"
    assert load(shipped, {}).config == Config()


@pytest.mark.parametrize("code", ["", "-a", "two words", "a/b", "a+", "x" * 64, "é", "a\n"])
def test_a_sample_code_is_a_part_of_a_topic(code: str) -> None:
    with pytest.raises(SampleError, match="never a patient's name"):
        sample_code(code)
    assert sample_code("2024-07.A_1") == "2024-07.A_1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_home_that_may_not_be_entered_is_no_error_and_a_file_that_may_not_be_read_is(tmp_path: Path) -> None:
    """`sudo -u sicklescope sicklescope …` is typed in the home of somebody else."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (tmp_path / "sicklescope.toml").touch(0o600)
    program = f"""
import os, sys
from pathlib import Path
from edge.config import loader
from edge.errors import ConfigError
os.chdir({str(home)!r})
os.setuid(65534)
loader.SEARCHED = (Path("sicklescope.toml"),)
print(loader.load(None).path)
try:
    loader.load(Path({str(tmp_path / "sicklescope.toml")!r}))
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("None\n")
    assert "sudo -u sicklescope" in done.stdout
