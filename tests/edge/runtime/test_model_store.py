"""`sicklescope model`: a laboratory's own model comes in only with a passed gate, is chosen, used, and rolled back."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

import edge.system.atomic_files
from edge.cli.main import app
from edge.config.model import Config, DeviceConfig, ModelConfig, ModelsConfig
from edge.diagnosis.doctor import examine
from edge.errors import ModelError
from edge.runtime.base import Source
from edge.runtime.contract import METADATA_KEY, SHIPPED_DIR, SHIPPED_SHA256, Contract
from edge.runtime.model_store import ModelStore
from edge.runtime.onnx import OnnxNetwork
from edge.runtime.registry import open_network

CREATED = "2026-11-20T12:00:00+00:00"

MEASURED = {"found": 90, "boxes": 100, "false_calls": 3, "negative_cells": 4000, "f1": 0.94}

FIGURES: dict[str, Any] = {
    "limits_points": {"recall": 0.5, "f1": 0.5, "false_calls": 0.05, "changed": 1.0},
    "gate": {"fp32": MEASURED, "int8": MEASURED, "cells_that_change_class": {"cells": 20, "of": 5000}},
}
"""What a gate's report must hold beside its verdict."""


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
        figures = {"passed": True, "model_sha256": digest(path), "created": CREATED, "sickle_recall": 0.91,
                   **FIGURES, **report}  # fmt: skip
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
        json.dumps({"passed": "perhaps", "model_sha256": digest(good), "created": CREATED, **FIGURES})
    )
    cut_report = tmp_path / "cut.json"
    cut_report.write_text(
        json.dumps({"passed": True, "model_sha256": digest(tmp_path / "cut.onnx"), "created": CREATED, **FIGURES})
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
        program.join()
        assert program.exitcode == 0
    assert len(ModelStore(tmp_path / "state").history("classifier").choices) == 20


def worse(**changed: object) -> dict[str, Any]:
    return {**FIGURES, "gate": {**FIGURES["gate"], "int8": {**MEASURED, **changed}}}


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"gate": None}, "gate: Input should be"),
        ({"limits_points": {"recall": 0.5}}, "limits_points.f1: Field required"),
        (worse(found=50), "over its limit of recall"),
        (worse(f1=0.5), "over its limit of f1"),
        (worse(false_calls=40), "over its limit of false_calls"),
        (worse(found=101), "more sickle cells found than boxed"),
        (worse(boxes=90, found=81), "measured on different labels"),
        (worse(f1=None), "measured on different labels"),
        ({"gate": {**FIGURES["gate"], "cells_that_change_class": {"cells": 900, "of": 5000}}}, "limit of changed"),
        ({"gate": {**FIGURES["gate"], "cells_that_change_class": {"cells": 0, "of": 0}}}, "of: Input should be"),
    ],
)
def test_a_report_whose_figures_do_not_bear_it_out_lets_nothing_in(
    own: Callable[..., Path], figures: dict[str, Any], words: str
) -> None:
    """Kind: a check that believes the word and not the figures (0.6.0 took a hand-written `{"passed": true}`)."""
    refused(install(own("lab-a", **figures)), words, 3)


def test_a_report_of_the_future_lets_nothing_in(own: Callable[..., Path]) -> None:
    refused(install(own("lab-a", created="2126-01-01T00:00:00+00:00")), "which is to come", 5)


def contract_of(role: str) -> Contract:
    model = onnx.load(str(SHIPPED_DIR / f"{role}.onnx"))
    return Contract.model_validate_json(next(one.value for one in model.metadata_props if one.key == METADATA_KEY))


@pytest.mark.parametrize(
    ("role", "changed"),
    [
        ("classifier", {"thresholds": {"sickle": -1}}),
        ("classifier", {"thresholds": {"abstain": 2}}),
        ("classifier", {"thresholds": {"sickle": float("nan")}}),
        ("classifier", {"thresholds": {"novelty_cell": 1e9}}),
        ("detector", {"thresholds": {"score_wbc": 0}}),
        ("detector", {"size": 8}),
        ("classifier", {"size": 100_000}),
        ("classifier", {"limit_of_blank": 1.5}),
        ("classifier", {"temperature": float("inf")}),
        ("classifier", {"log_odds": [1.0, float("nan")]}),
        ("classifier", {"name": "x" * 4000}),
        ("classifier", {"name": "lab-a\nin use: sicklescope"}),
        ("classifier", {"temperature": 1e-300}),
        ("classifier", {"log_odds": [1e9, 0.0]}),
        ("classifier", {"log_odds": [1.0, 1e6]}),
    ],
)
def test_a_contract_with_values_that_mean_nothing_is_refused(
    own: Callable[..., Path], role: str, changed: dict[str, Any]
) -> None:
    """Kind: a model file with numbers by which no cell, or every cell, is called sickle."""
    contract = json.loads(contract_of(role).model_dump_json())
    thresholds = {**contract["thresholds"], **changed.get("thresholds", {})}
    text = json.dumps({**contract, "name": "lab-a", **changed, "thresholds": thresholds})
    refused(install(own("lab-a", role, contract=text)), "carries a contract that cannot be read", 5)


def graph(role: str, change: Callable[[Any], None]) -> Any:
    """Return a shipped model whose graph was changed."""
    model = onnx.load(str(SHIPPED_DIR / f"{role}.onnx"))
    change(model.graph)
    return model


def floats_in(graph: Any) -> None:
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def behind(output: str, operator: str, **attributes: object) -> Callable[[Any], None]:
    """Put an operator behind an output."""

    def change(graph: Any) -> None:
        maker = next(node for node in graph.node if output in node.output)
        maker.output[list(maker.output).index(output)] = "inner"
        graph.node.append(onnx.helper.make_node(operator, ["inner"], [output], **attributes))

    return change


BROKEN: dict[str, tuple[str, Callable[[Any], None]]] = {
    "takes floats": ("classifier", floats_in),
    "transposed": ("classifier", behind("prob", "Transpose", perm=[1, 0])),
    "logarithms": ("classifier", behind("prob", "Log")),
    "no numbers": ("detector", behind("sides", "Acos")),
    "negative": ("detector", behind("peaks", "Neg")),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_model_that_answers_something_else_is_refused_before_it_comes_in(
    own: Callable[..., Path], tmp_path: Path, how: str
) -> None:
    """Kind: a file that loads and whose contract is right, and whose first field ends the service."""
    role, change = BROKEN[how]
    path = own("lab-a", role)
    onnx.save(graph(role, change), str(path))
    model = onnx.load(str(path))
    onnx.helper.set_model_props(
        model, {METADATA_KEY: contract_of(role).model_copy(update={"name": "lab-a"}).model_dump_json()}
    )
    onnx.save(model, str(path))
    path.with_suffix(".json").write_text(
        json.dumps({"passed": True, "model_sha256": digest(path), "created": CREATED, **FIGURES})
    )
    result = install(path)
    assert result.exit_code == 5, result.output
    assert "lab-a" in result.stderr
    assert not list((tmp_path / "state").rglob("*.onnx"))


def test_weights_in_another_file_are_refused_wherever_a_model_is_named(
    own: Callable[..., Path], tmp_path: Path
) -> None:
    """Kind: a digest that pins a part of what is run: the weights beside it could be changed."""
    path = own("lab-a")
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=True, location="w.bin", size_threshold=0)
    path.with_suffix(".json").write_text(
        json.dumps({"passed": True, "model_sha256": digest(path), "created": CREATED, **FIGURES})
    )
    refused(install(path), "keeps weights in another file", 5)
    given = ModelsConfig(threads=1, classifier=ModelConfig(path=path, sha256=digest(path)))
    with pytest.raises(ModelError, match="keeps weights in another file"):
        used(tmp_path, config=given)


def test_a_model_that_fails_on_a_field_is_a_refused_model(own: Callable[..., Path], tmp_path: Path) -> None:
    """Kind: a failure of a part that ends the whole: ONNX Runtime's own error ended the service in 0.6.0."""
    path = own("lab-a")
    model = onnx.load(str(path))
    maker = next(node for node in model.graph.node if "prob" in node.output)
    maker.output[list(maker.output).index("prob")] = "inner"
    shape = onnx.numpy_helper.from_array(np.array([2, 6]), "two")
    model.graph.initializer.append(shape)
    model.graph.node.append(onnx.helper.make_node("Reshape", ["inner", "two"], ["prob"]))
    onnx.save(model, str(path))
    given = ModelsConfig(threads=1, classifier=ModelConfig(path=path, sha256=digest(path)))
    with pytest.raises(ModelError, match=r"the classifier lab-a 1 failed in onnxruntime.*model rollback classifier"):
        open_network("classifier", given, tmp_path / "state")
    network = OnnxNetwork(Source("classifier", path, digest(path), given))
    with pytest.raises(ModelError, match=r"the classifier lab-a 1 failed in onnxruntime.*model rollback classifier"):
        network(np.zeros((3, 64, 64, 3), np.uint8))
    network.close()
    config = Config(device=DeviceConfig(state_dir=tmp_path / "state"), models=given)
    (found,) = (one for one in examine(config) if one.what == "model classifier")
    assert (found.state, "lab-a 1 failed in onnxruntime" in found.text) == ("missing", True)
