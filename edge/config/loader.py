"""Fills the configuration: defaults, then a TOML file, then systemd's credentials, then the environment.

`python -m edge.config.loader > sicklescope.example.toml` writes the example from the configuration's own words.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from edge.config.environment import ENV_FILE, cut, merge_credentials, merge_environment, plain
from edge.config.model import Config
from edge.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SEARCHED = (Path("sicklescope.toml"), Path("/etc/sicklescope/sicklescope.toml"))
MASK = "********"


PROBLEMS_SHOWN = 20
"""Wrong keys that are named; a file with more is hardly a configuration."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A valid configuration.

    sources: where each value came from, by dotted name; path: the file read, if any.
    """

    config: Config
    sources: dict[str, str]
    path: Path | None


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read the configuration.

    Defaults < file < credentials (`mqtt.password`) < environment (`SICKLESCOPE_MQTT__HOST`).

    The file is `path`, else what SICKLESCOPE_CONFIG names, else ./sicklescope.toml, else
    /etc/sicklescope/sicklescope.toml, else none. Relative paths in it are relative to the file.
    Raises ConfigError, which names every wrong key with what was found, what was expected and the nearest valid name.
    """
    path, values, sources, problems = _gathered(path, environ)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        problems = _problems(error, sources) + problems
    if problems:
        more = [f"and {len(problems) - PROBLEMS_SHOWN} more"] if len(problems) > PROBLEMS_SHOWN else []
        lines = [f"  {line}" for line in [*problems[:PROBLEMS_SHOWN], *more]]
        raise ConfigError("\n".join(["the configuration cannot be used:", *lines]))
    return Loaded(config, {name: sources[name] for name, _ in fields()}, path)


def load_connection(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read as `load` does, but only the sections of device, broker and, if right, page.

    The rest is left at its default.

    So a device whose configuration is wrong elsewhere can say so. Raises ConfigError when these two are wrong as
    well.
    """
    _, values, sources, _ = _gathered(path, environ)
    needed = {name: values[name] for name in ("device", "mqtt") if name in values}
    with suppress(ValidationError):
        return Config.model_validate({**needed, "web": values.get("web", {})})
    try:
        return Config.model_validate(needed)
    except ValidationError as error:
        raise ConfigError("\n".join(_problems(error, sources))) from error


def _gathered(
    path: Path | None, environ: Mapping[str, str]
) -> tuple[Path | None, dict[str, Any], dict[str, str], list[str]]:
    """Return the file read, the values of all sources, where each came from, and a line for each useless variable."""
    path = _find(path, environ)
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    if path is not None:
        text = _read(path)
        values, lines = _parse(text, path), _line_numbers(text)
    sources = {name: "default" for name, _ in fields()}
    for name in _leaves(values):
        sources[name] = f"{path}:{lines[name]}" if name in lines else str(path)
    if path is not None:
        _anchor(values, path.absolute().parent)
    merge_credentials(values, sources, environ, secrets())
    problems = list(merge_environment(values, sources, environ, (name for name, _ in fields())))
    return path, values, sources, problems


def fields(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every value of the configuration with its dotted name, in the order of the file."""
    for name, info in model.model_fields.items():
        # Python 3.10 takes list[str] for a class, and fails to ask whose subclass it is.
        kind = None if get_origin(info.annotation) else info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from fields(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


def secrets() -> list[str]:
    """Return the dotted names of the values that are never shown.

    systemd may hand them over as credentials.
    """
    return [name for name, info in fields() if "SecretStr" in str(info.annotation)]


def rendered(loaded: Loaded) -> str:
    """Write the effective configuration as TOML, each value with its source.

    Secrets are masked, so it can be shown.
    """
    lines: list[str] = []
    table = ""
    for name, _ in fields():
        section, _, key = name.rpartition(".")
        if section != table:
            table = section
            lines += ["", f"[{section}]"]
        value: Any = loaded.config
        for part in name.split("."):
            value = getattr(value, part)
        lines.append(f"{_assignment(key, value)}  # {loaded.sources[name]}")
    return "\n".join(lines[1:])


def example() -> str:
    """Write every value with its default and what it means, as TOML."""
    lines = ["# Every setting with its default: copy what you change into sicklescope.toml. `sicklescope config` shows"]
    lines += [
        "# what is in force and where it came from; SICKLESCOPE_MQTT__HOST=... in the environment sets mqtt.host."
    ]
    table = ""
    for name, info in fields():
        section, _, key = name.rpartition(".")
        if section != table:
            table = section
            lines += ["", f"[{section}]"]
        lines += [f"# {info.description}"] if info.description else []
        default = info.get_default(call_default_factory=False)
        lines.append(f"# {key} =" if default is None else _assignment(key, default))
    return "\n".join(lines) + "\n"


def _assignment(key: str, value: object) -> str:
    if value is None:
        return f"# {key} is not set"
    if isinstance(value, SecretStr):
        return f'# {key} = "{MASK}"'
    plain = str(value) if isinstance(value, Path) else value
    # JSON writes numbers, booleans and strings as TOML does, once DEL is escaped.
    return f"{key} = {json.dumps(plain, ensure_ascii=False)}".replace("\x7f", "\\u007f")


def _find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is None and environ.get(ENV_FILE):
        path = Path(environ[ENV_FILE])
    if path is None:
        return next((candidate for candidate in SEARCHED if _is_there(candidate)), None)
    return path


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:  # `sudo -u sicklescope` in a home that this user may not enter
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # Windows editors put a byte order mark first
    except PermissionError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}. On an installed device: sudo -u sicklescope sicklescope …"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}. Expected a TOML file in UTF-8") from error


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not a configuration: its values are nested too deeply") from error
    return values


def _line_numbers(text: str) -> dict[str, int]:
    """Line of each plain `key =` by dotted name; TOML readers do not tell. A key written otherwise is just absent."""
    table = ""
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([\w.-]+)\]", line):
            table = header[1] + "."
        elif key := re.match(r"\s*([\w.-]+)\s*=", line):
            lines.setdefault(table + key[1], number)
    return lines


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Names of the values in the tables that a configuration has; other tables, however deep, are not looked into."""
    tables = {name[: dot.start()] for name, _ in fields() for dot in re.finditer(r"\.", name)}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if not isinstance(value, dict):
            yield name
        elif name in tables:
            yield from _leaves(value, f"{name}.")


def _anchor(values: dict[str, Any], base: Path) -> None:
    """Make the file's relative paths relative to the file, in place; so too what a replay is to show."""
    camera = values.get("camera")
    replay = {"camera.device"} if isinstance(camera, dict) and camera.get("kind") == "replay" else set()
    for name, info in fields():
        *tables, key = name.split(".")
        table: Any = values
        for part in tables:
            table = table.get(part) if isinstance(table, dict) else None
        value = table.get(key) if isinstance(table, dict) else None
        is_path = name in replay or "Path" in str(info.annotation)
        if is_path and isinstance(value, str) and value and not value.startswith("~"):
            table[key] = str(base / value)


def _problems(error: ValidationError, sources: Mapping[str, str]) -> list[str]:
    """One line for each wrong key; a secret's value, or that of an unknown key (it may be one), is never repeated."""
    known = dict(fields())
    problems: dict[str, str] = {}
    for item in error.errors(include_url=False):
        # A union adds the name of each of its members behind the key: one line for the key is enough.
        loc = [plain(str(part)) for part in item["loc"]]
        name = next((".".join(loc[:n]) for n in range(len(loc), 0, -1) if ".".join(loc[:n]) in known), ".".join(loc))
        where = f"{name} ({sources[name]})" if name in sources else name
        expected = re.sub(r"^(Input|String) should (be )?|^Value error, ", "", item["msg"])
        if item["type"] == "model_type":
            expected = f"a table, [{name}]"
        if item["type"] == "extra_forbidden":
            # To find it takes milliseconds: not for thousands that are not shown.
            nearest = _nearest(name, known) if len(problems) < PROBLEMS_SHOWN else ""
            problems[name] = f"{where}: unknown key; nearest valid name: {nearest}"
        elif name in problems:
            problems[name] += f", or {expected}"
        elif item["type"] == "value_error" and name not in known:
            problems[name] = f"{where}: {expected}"  # a rule about several keys of a table
        else:
            problems[name] = f"{where} = {MASK if name in secrets() else shown(item['input'])}: expected {expected}"
            if item["type"] == "literal_error":
                problems[name] += _nearest_choice(item["input"], item["ctx"]["expected"])
    return list(problems.values())


def shown(value: object) -> str:
    """Return a value as an error message shows it, shortened."""
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out a whole number of thousands of digits
        text = "a number too long to show"
    return cut(text)


def _nearest(name: str, known: Mapping[str, object]) -> str:
    """Find the valid name most like a wrong one: its own key in another table, else the most similar one."""
    table, _, key = name.rpartition(".")
    if same_key := [other for other in known if other.rpartition(".")[2] == key]:
        return same_key[0]
    siblings = {other.removeprefix(f"{table}."): other for other in known if table and other.startswith(f"{table}.")}
    if close := difflib.get_close_matches(key, list(siblings), n=1):
        return siblings[close[0]]
    tables = {other.rpartition(".")[0] for other in known}
    return difflib.get_close_matches(name, [*sorted(tables), *known], n=1, cutoff=0.0)[0]


def _nearest_choice(value: object, expected: str) -> str:
    close = difflib.get_close_matches(str(value), re.findall(r"'([^']+)'", expected), n=1)
    return f"; nearest: {close[0]!r}" if close else ""


if __name__ == "__main__":
    sys.stdout.write(example())
