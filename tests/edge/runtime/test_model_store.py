"""`sicklescope model`: a laboratory's own model comes in only with a passed gate, is chosen, used, and rolled back."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner, Result

import edge.system.atomic_files
from edge.cli.doctor import examine
from edge.cli.main import app
from edge.config.model import Config, DeviceConfig, ModelConfig, ModelsConfig
from edge.errors import ModelError
from edge.runtime.contract import METADATA_KEY, SHIPPED_DIR, SHIPPED_SHA256, Contract
from edge.runtime.model_store import ModelStore
from edge.runtime.registry import open_network

CREATED = "2026-11-20T12:00:00+00:00"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def laboratory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder whose configuration keeps state beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sicklescope.toml").write_text('[device]\nstate_dir = "state"\n[mqtt]\nenabled = false\n')


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """Write a model of the laboratory's own (a shipped graph, another contract) with its gate's report beside it."""

    def write(name: str, role: str = "classifier", contract: str | None = None, **report: object) -> Path:
        model = onnx.load(str(SHIPPED_DIR / f"{role}.onnx"))
        text = next(one.value for one in model.metadata_props if one.key == METADATA_KEY)
        changed = Contract.model_validate_json(text).model_copy(update={"name": name, "version": "1"})
        del model.metadata_props[:]
        if contract != "":
            onnx.helper.set_model_props(model, {METADATA_KEY: contract or changed.model_dump_json()})
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, str(path))
        figures = {"passed": True, "model_sha256": digest(path), "created": CREATED, "sickle_recall": 0.91, **report}
        path.with_suffix(".json").write_text(json.dumps(figures))
        return path

    return write


def model(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["model", *map(str, arguments)])


def install(path: Path, report: Path | None = None) -> Result:
    return model("install", path, "--report", report or path.with_suffix(".json"))


def used(tmp_path: Path, role: str = "classifier", config: ModelsConfig | None = None) -> str:
    """Return the digest of the network that a run would read with."""
    network = open_network(role, config or ModelsConfig(threads=1), tmp_path / "state")  # type: ignore[arg-type]
    network.close()
    return network.sha256


def refused(result: Result, words: str, code: int) -> None:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stderr.startswith("sicklescope: ")
    assert words in result.stderr
    assert result.exit_code == code


def test_a_model_is_installed_chosen_and_rolled_back(tmp_path: Path, own: Callable[..., Path]) -> None:
    first, second = own("lab-a"), own("lab-b")
    for path in (first, second):
        result = install(path)
        assert result.exit_code == 0, result.output
        assert f"sha256 {digest(path)}" in result.stdout
        assert used(tmp_path) == SHIPPED_SHA256["classifier.int8.cpu"]  # not in use until chosen
        path.unlink()  # what is installed is a copy
    kept = {path.stem: path for path in (tmp_path / "state/models/classifier").glob("*.onnx")}
    assert all(digest(path) == stem for stem, path in kept.items())
    a, b = (json.loads((tmp_path / f"lab-{one}.json").read_text())["model_sha256"] for one in "ab")
    assert set(kept) == {a, b}
    for name, expected in (("lab-a", a), ("lab-b 1", b), (a[:8], a), ("lab-b", b)):
        assert model("use", name).exit_code == 0
        assert used(tmp_path) == expected
        assert used(tmp_path, "detector") == SHIPPED_SHA256["detector.int8.cpu"]
    # Back through every choice, to the shipped one and no further.
    for expected in (a, b, a, SHIPPED_SHA256["classifier.int8.cpu"]):
        assert model("rollback", "classifier").exit_code == 0
        assert used(tmp_path) == expected
    refused(model("rollback", "classifier"), "the shipped one is in use", 3)
    refused(model("rollback", "detector"), "the shipped one is in use", 3)
    history = json.loads((tmp_path / "state/models/classifier/history.json").read_text())
    assert [one["action"] for one in history["choices"]] == ["use"] * 4 + ["rollback"] * 4
    assert history["installed"][0]["report"]["sickle_recall"] == 0.91  # the figures that let it in are kept


def test_list_shows_what_is_in_use_and_by_what(tmp_path: Path, own: Callable[..., Path]) -> None:
    assert "* shipped" in model("list").stdout
    install(own("lab-a"))
    model("use", "lab-a")
    listed = model("list").stdout
    assert "* lab-a 1, sha256 " in listed
    assert "gate passed 2026-11-20" in listed
    assert listed.count("*") == 2  # one for each role
    assert model("use", "shipped", "--role", "classifier").exit_code == 0
    assert used(tmp_path) == SHIPPED_SHA256["classifier.int8.cpu"]
    assert "* lab-a" not in model("list").stdout


def test_a_path_in_the_configuration_wins_and_the_commands_say_so(tmp_path: Path, own: Callable[..., Path]) -> None:
    install(own("lab-a"))
    other = own("lab-b")
    text = (tmp_path / "sicklescope.toml").read_text()
    text += f'[models.classifier]\npath = "{other}"\nsha256 = "{digest(other)}"\n'
    (tmp_path / "sicklescope.toml").write_text(text)
    result = model("use", "lab-a")
    assert result.exit_code == 0
    assert f"but models.classifier.path names {other}, which wins" in result.stderr
    listed = model("list").stdout
    assert f"* {other} by models.classifier.path (sicklescope.toml:6), whatever is chosen here" in listed
    assert "* lab-a" not in listed
    given = ModelsConfig(threads=1, classifier=ModelConfig(path=other, sha256=digest(other)))
    assert used(tmp_path, config=given) == digest(other)


def test_the_result_says_which_model_made_it(tmp_path: Path, own: Callable[..., Path]) -> None:
    from edge.camera.virtual.layout import SlideSpec
    from edge.camera.virtual.slide import Slide
    from tests.calibration.optics_parts import write

    install(own("lab-a"))
    model("use", "lab-a")
    slides = write(tmp_path / "slides", [Slide(SlideSpec(width=160, height=120)).render(0)])
    result = CliRunner().invoke(app, ["scan", str(slides), "--out", "out", "--um-per-px", "0.25"])
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["models"]["classifier"]["name"] == "lab-a"
    assert summary["models"]["classifier"]["sha256"] == digest(tmp_path / "lab-a.onnx")
    assert summary["models"]["detector"]["sha256"] == SHIPPED_SHA256["detector.int8.cpu"]
    findings = {one.what: one.text for one in examine(Config(device=DeviceConfig(state_dir=tmp_path / "state")))}
    assert "lab-a 1" in findings["model classifier"]


def test_what_must_not_come_in_does_not(tmp_path: Path, own: Callable[..., Path]) -> None:
    good, failed = own("lab-a"), own("lab-f", passed=False)
    bare, swapped = own("lab-c", contract=""), own("lab-s", contract='{"role": "classifier"}')
    named = own("shipped")
    (tmp_path / "cut.onnx").write_bytes(good.read_bytes()[:50_000])
    (tmp_path / "text.json").write_text("passed: yes")
    (tmp_path / "half.json").write_text(json.dumps({"passed": True, "model_sha256": digest(good)}))
    (tmp_path / "maybe.json").write_text(
        json.dumps({"passed": "perhaps", "model_sha256": digest(good), "created": CREATED})
    )
    cut_report = tmp_path / "cut.json"
    cut_report.write_text(
        json.dumps({"passed": True, "model_sha256": digest(tmp_path / "cut.onnx"), "created": CREATED})
    )
    refused(install(failed), "did not pass its gate", 5)
    refused(install(good, failed.with_suffix(".json")), "is a report of another file", 5)
    refused(install(tmp_path / "cut.onnx"), "cut.onnx cannot be loaded by onnxruntime", 5)
    refused(install(bare), "carries no contract", 5)
    refused(install(swapped), "carries a contract that cannot be read", 5)
    refused(install(named), "calls itself 'shipped'", 5)
    refused(install(tmp_path / "absent.onnx", good.with_suffix(".json")), "absent.onnx cannot be read", 3)
    refused(install(good, tmp_path / "absent.json"), "absent.json cannot be read", 3)
    for report in ("text", "half", "maybe"):
        refused(install(good, tmp_path / f"{report}.json"), f"{report}.json is no gate report", 3)
    refused(model("use", "lab-a"), "no installed model is called 'lab-a'; installed: none", 3)
    assert not list((tmp_path / "state").rglob("*.onnx"))
    assert "lab" not in model("list").stdout


def test_a_name_that_means_two_models_is_asked_for_again(own: Callable[..., Path]) -> None:
    one = own("lab-a")
    install(one)
    changed = json.loads(next(p.value for p in onnx.load(str(one)).metadata_props if p.key == METADATA_KEY))
    two = own("lab-a", contract=json.dumps({**changed, "version": "2"}))
    install(two)
    refused(model("use", "lab-a"), "several installed models are called 'lab-a'", 3)
    assert model("use", "lab-a 2").exit_code == 0
    assert model("use", digest(two)[:12]).exit_code == 0
    refused(model("use", "shipped"), "add --role detector or --role classifier", 3)


def test_a_full_disk_leaves_everything_as_it_was(
    tmp_path: Path, own: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(own("lab-a"))
    model("use", "lab-a")
    before = (tmp_path / "state/models/classifier/history.json").read_bytes()
    second = own("lab-b")

    def full(*_: object, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for where in ("write_bytes", "write_text"):
        with monkeypatch.context() as patched:
            patched.setattr(Path, where, full)
            refused(install(second), "No space left on device", 7)
        with monkeypatch.context() as patched:
            patched.setattr(edge.system.atomic_files, "_sync", full)
            refused(model("use", "lab-a"), "No space left on device", 7)
        assert (tmp_path / "state/models/classifier/history.json").read_bytes() == before
        assert not [path for path in (tmp_path / "state/models").rglob("*") if path.name.startswith(".partial")]
    assert used(tmp_path) == digest(tmp_path / "lab-a.onnx")
    assert install(second).exit_code == 0  # room again, and a file left by the second failure does no harm


def test_a_state_folder_that_cannot_be_written_is_named(tmp_path: Path, own: Callable[..., Path]) -> None:
    (tmp_path / "sicklescope.toml").write_text('[device]\nstate_dir = "/proc/nowhere"\n')
    refused(install(own("lab-a")), "/proc/nowhere", 7)


def test_an_installed_file_that_was_changed_is_never_read_with(tmp_path: Path, own: Callable[..., Path]) -> None:
    path = own("lab-a")
    install(path)
    model("use", "lab-a")
    kept = next((tmp_path / "state/models/classifier").glob("*.onnx"))
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"not there or was changed.*sicklescope model rollback classifier"):
        used(tmp_path)
    kept.unlink()
    with pytest.raises(ModelError, match="not there or was changed"):
        used(tmp_path)
    refused(model("use", "lab-a"), "not there or was changed", 5)
    assert install(path).exit_code == 0  # installing again mends it
    assert used(tmp_path) == digest(path)


def test_a_damaged_history_is_no_reason_to_read_with_another_model(tmp_path: Path) -> None:
    folder = tmp_path / "state/models/classifier"
    folder.mkdir(parents=True)
    (folder / "history.json").write_text('{"schema_version": 1, "chosen": 5}')
    with pytest.raises(ModelError, match=r"history\.json cannot be read"):
        used(tmp_path)
    refused(model("list"), "history.json cannot be read", 5)


def _use_often(state: Path, name: str) -> None:
    for _ in range(10):
        ModelStore(state).use(name)


def test_two_programs_at_once_lose_no_choice(tmp_path: Path, own: Callable[..., Path]) -> None:
    for name in ("lab-a", "lab-b"):
        install(own(name))
    spawn = multiprocessing.get_context("spawn")
    programs = [spawn.Process(target=_use_often, args=(tmp_path / "state", name)) for name in ("lab-a", "lab-b")]
    for program in programs:
        program.start()
    for program in programs:
        program.join(90)
        assert program.exitcode == 0
    assert len(ModelStore(tmp_path / "state").history("classifier").choices) == 20
