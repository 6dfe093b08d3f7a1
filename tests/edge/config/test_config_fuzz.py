"""Whatever stands in the file and the environment: a configuration, or an error that names each wrong key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge.cli.main import app
from edge.config.loader import PROBLEMS_SHOWN, Loaded, fields, load, rendered
from edge.config.model import Config
from edge.errors import ConfigError

FIELDS = dict(fields())
NAMES = sorted(FIELDS)
TABLES = sorted({name.rpartition(".")[0] for name in NAMES})
KEYS = sorted({name.rpartition(".")[2] for name in NAMES})

words = st.text(st.characters(codec="utf-8"), max_size=12)
scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-(10**30), 10**30),
    st.sampled_from([2**63, -(2**63), 10**400, 0, -1, 1]),
    st.floats(),
    words,
    st.sampled_from(
        ["auto", "~nobody/x", "~", "virtual", "5", "\x00", "a/b", "", "1e999", "nan", "off", "[", "(" * 99]
    ),
    st.sampled_from([date(2026, 1, 1), time(1, 2), datetime(2026, 1, 1, tzinfo=timezone.utc)]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(words, st.sampled_from(KEYS)), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(TABLES),
    st.builds("{}.{}".format, st.sampled_from(TABLES), st.sampled_from(KEYS)),
    st.builds("{}.{}".format, st.sampled_from(NAMES), st.sampled_from(KEYS)),
    st.lists(st.sampled_from([*KEYS, *TABLES, "x", "mqtts"]), min_size=1, max_size=5).map(".".join),
)
variables = st.dictionaries(
    st.one_of(
        st.sampled_from(NAMES).map(lambda name: name.upper().replace(".", "__")), words.filter(lambda w: "=" not in w)
    ),
    st.text(max_size=8),
    max_size=3,
).map(lambda found: {f"SICKLESCOPE_{name}": value for name, value in found.items()})


def toml(value: object) -> str:
    """Write a value as TOML does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml(key)} = {toml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08x}" for c in value) + '"'
    return value.isoformat() if isinstance(value, (date, time)) else repr(value)


def outcome(path: Path, environ: Mapping[str, str]) -> Loaded | str:
    """Load, and check of an error that each of its lines names a key, what is wrong with it, and nothing else."""
    try:
        loaded = load(path, environ)
    except ConfigError as error:
        head, *lines = str(error).splitlines()
        if head != "the configuration cannot be used:":
            assert str(path) in head
            return str(error)
        assert lines
        assert len(lines) <= PROBLEMS_SHOWN + 1
        for line in lines:
            assert line.isprintable()
            assert len(line) < 600, line
        return str(error)
    assert isinstance(loaded.config, Config)
    return loaded


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "any.toml"


@given(st.dictionaries(names, values, max_size=5), variables)
def test_any_values_under_any_names(path: Path, table: dict[str, object], environ: dict[str, str]) -> None:
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in table.items()), encoding="utf-8")
    found = outcome(path, environ)
    if isinstance(found, Loaded):
        assert rendered(found)


@given(st.binary(max_size=200))
def test_any_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    outcome(path, {})


@given(st.sampled_from(NAMES), values)
def test_one_wrong_value_is_named_with_what_was_found_and_expected(path: Path, name: str, value: object) -> None:
    path.write_text(f"{name} = {toml(value)}\n", encoding="utf-8")
    found = outcome(path, {})
    if isinstance(found, str) and "is not TOML" not in found:
        assert name.rpartition(".")[0] in found
        assert any(words in found for words in ("expected", "nearest valid name", "belong together", "needs", "set "))


def test_a_key_of_many_lines_or_letters_is_named_on_one_line(path: Path) -> None:
    path.write_text('"a\\nb\\u001b[31m" = 1\n' + "x" * 5000 + " = 1\n", encoding="utf-8")
    found = outcome(path, {"SICKLESCOPE_\x1b\n": "1"})
    assert isinstance(found, str)
    assert "a\\nb\\x1b[31m: unknown key" in found
    assert "SICKLESCOPE_\\x1b\\n means nothing" in found
    assert len(found.splitlines()) == 4


def test_of_thousands_of_wrong_keys_the_first_are_named(path: Path) -> None:
    path.write_text("\n".join(f"key{i} = {i}" for i in range(3000)), encoding="utf-8")
    found = outcome(path, {})
    assert isinstance(found, str)
    assert found.endswith("and 2980 more")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{a=" * 3000,
        ".".join("a" * 3000) + " = 1",
        "[" + ".".join(["mqtt"] * 900) + "]\nx = 1",
        "mqtt = " + "[" * 60 + "]" * 60,
        "[[mqtt]]\nhost = 'a'\n[[mqtt]]\nhost = 'b'",
        f"mqtt.port = {'9' * 4000}",
        "mqtt.port = 0x" + "f" * 5000,
        "camera.fps = " + "9" * 400 + ".0",
        "mqtt.host = '" + "x" * 100_000 + "'",
        "a = " + "[" * 300 + "]" * 300,
        "mqtt.host = " + "[" * 300 + "]" * 300,
    ],
)
def test_what_is_deep_long_or_huge(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    assert outcome(path, {})


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.builds(lambda n, v: f"{n} = {toml(v)}".encode(), names, values)))
def test_the_command_answers_with_0_or_2_and_no_traceback(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for arguments in (["config", "--check"], ["config"]):
        done = CliRunner().invoke(app, [*arguments, "--config", str(path)])
        assert done.exit_code in (0, 2), (done.output, done.exception)
        assert done.output
