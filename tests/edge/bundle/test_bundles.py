"""A bundle is used whole, signed and newer, or not at all: what a stranger, an accident or an owner may hand in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from typer.testing import CliRunner

from edge.bundle.bundle_file import MAGIC, read_bundle, signed_bytes
from edge.bundle.offer import Offer, parse_offer, place_of
from edge.cli.main import app
from edge.config.model import Config, DeviceConfig, ModelConfig, ModelsConfig
from edge.errors import ConfigError, EdgeError, InputError, ModelError, StorageError
from edge.runtime import bundle_store
from edge.runtime.bundle_store import STARTS_MAX, BundleStore
from edge.runtime.contract import SHIPPED_SHA256
from edge.service.model_bundles import ModelBundles
from edge.storage.carried import of_a_device
from tests.bundles import Workshop, digests_in_use, without_trial

SHIPPED = (SHIPPED_SHA256["detector"], SHIPPED_SHA256["classifier"])

Files = dict[tuple[str, str], Path]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture(scope="module")
def pairs(shop: Workshop) -> tuple[Files, Files]:
    return shop.pair("first"), shop.pair("second")


@pytest.fixture
def store(shop: Workshop, tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "state", shop.accepted)


def in_use(store: BundleStore, config: ModelsConfig) -> tuple[str, ...]:
    return digests_in_use(store.folder.parent, config)


def test_a_bundle_is_taken_in_used_and_rolled_back(
    shop: Workshop, pairs: tuple[Files, Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the commands, with the golden pictures in a process of their own."""
    monkeypatch.chdir(tmp_path)
    (key,) = shop.accepted.accept_from
    Path("sicklescope.toml").write_text(
        f'[device]\nstate_dir = "state"\n[mqtt]\nenabled = false\n[models]\naccept_from = ["{key}"]\n'
    )
    store = BundleStore(tmp_path / "state", shop.accepted)
    done = CliRunner().invoke(app, ["model", "install", str(shop.bundle(pairs[0], 1))])
    assert done.exit_code == 0, done.output
    assert in_use(store, shop.accepted) == SHIPPED, "it waits"
    assert store.switch() is not None
    first = in_use(store, shop.accepted)
    assert first == tuple(
        read_bundle(shop.folder / "models-1.bundle").manifest.sha256_of(role) for role in ("detector", "classifier")
    )
    assert "* bundle pair-1 (serial 1" in CliRunner().invoke(app, ["model", "list"]).output
    one = CliRunner().invoke(app, ["model", "use", "first", "--role", "detector"])
    assert "is in use, a pair" in one.output, "one model of another pair beside it would count"
    done = CliRunner().invoke(app, ["model", "rollback"])
    assert done.exit_code == 0, done.output
    assert in_use(store, shop.accepted) == SHIPPED


def changed(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def with_manifest(file: Path, key: Ed25519PrivateKey, **changes: Any) -> Path:
    """Sign a manifest that no program of ours writes."""
    bundle = read_bundle(file)
    payload = json.dumps({**json.loads(bundle.payload), **changes}).encode()
    signature = key.sign(signed_bytes(payload)).hex().encode()
    rest = file.read_bytes()[bundle.offset :]
    file.write_bytes(b"%s %d %s\n" % (MAGIC, len(payload), signature) + payload + rest)
    return file


BAD: dict[str, tuple[type[EdgeError], str, Callable[[Workshop, Files, Files], Path]]] = {
    "cut short": (InputError, "by its manifest it has", lambda shop, a, _: changed(
        shop.bundle(a, 9), lambda d: d[:-1])),
    "cut in its manifest": (InputError, "cannot be used", lambda shop, a, _: changed(
        shop.bundle(a, 9), lambda d: d[:300])),
    "empty": (InputError, "is no bundle", lambda shop, a, _: changed(shop.bundle(a, 9), lambda d: b"")),
    "lengthened": (InputError, "by its manifest it has", lambda shop, a, _: changed(
        shop.bundle(a, 9), lambda d: d + b"x")),
    "a model": (InputError, "is no bundle", lambda shop, a, _: a["detector", "model"]),
    "a long manifest": (InputError, "at most", lambda shop, a, _: changed(
        shop.bundle(a, 9), lambda d: MAGIC + b" 99999 -\n" + bytes(200))),
    "a huge part": (InputError, "bytes", lambda shop, a, _: with_manifest(shop.bundle(a, 9), shop.key, parts=[
        {"role": "detector", "kind": "model", "sha256": "a" * 64, "bytes": 10**15}])),
    "a name of a path": (InputError, "name", lambda shop, a, _: with_manifest(
        shop.bundle(a, 9), shop.key, name="../../state")),
    "a path of its own": (InputError, "path", lambda shop, a, _: with_manifest(shop.bundle(a, 9), shop.key, path="/x")),
    "a part that is missing": (InputError, "parts other than", lambda shop, a, _: with_manifest(
        shop.bundle(a, 9), shop.key, parts=json.loads(read_bundle(shop.bundle(a, 9)).payload)["parts"][:3])),
    "a changed model": (InputError, "model was changed", lambda shop, a, _: changed(
        shop.bundle(a, 9), lambda d: flipped(d, read_bundle(shop.folder / "models-9.bundle").offset + 100))),
    "a changed report": (InputError, "report was changed", lambda shop, a, _: changed(
        shop.bundle(a, 9), lambda d: flipped(d, len(d) - 10))),
    "a changed manifest": (ModelError, "was changed, or was signed by nobody", lambda shop, a, _: changed(
        shop.bundle(a, 9), lambda d: d.replace(b'"serial":9', b'"serial":8', 1))),
    "another key": (ModelError, "signed by nobody", lambda shop, a, _: shop.bundle(
        a, 9, key=Ed25519PrivateKey.generate())),
    "not signed": (ModelError, "is not signed", lambda shop, a, _: shop.bundle(a, 9, signed=False)),
    "for a newer version": (ModelError, "Upgrade first", lambda shop, a, _: shop.bundle(a, 9, minimum="99.0.0")),
    "a report of another model": (ModelError, "report of another file", lambda shop, a, b: shop.bundle(
        {**a, ("classifier", "report"): b["classifier", "report"]}, 9)),
    "models exchanged": (ModelError, "exchanged", lambda shop, a, _: shop.bundle(
        {(other, kind): a[role, kind] for (role, kind), other in zip(
            a, ("classifier", "classifier", "detector", "detector"), strict=True)}, 9)),
    "older": (InputError, "takes newer ones only", lambda shop, a, _: shop.bundle(a, 1)),
    "the same again": (InputError, "in use already", lambda shop, a, b: shop.folder / "models-2.bundle"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_bundle_changes_nothing_and_is_told(
    kind: str, shop: Workshop, pairs: tuple[Files, Files], store: BundleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_trial(monkeypatch)
    store.take_in(shop.bundle(pairs[1], 2))
    store.switch()
    store.confirm()
    before, record = in_use(store, shop.accepted), store.record()
    error, words, make = BAD[kind]
    with pytest.raises(error, match=words):
        store.take_in(make(shop, *pairs))
    assert (in_use(store, shop.accepted), store.record()) == (before, record)
    assert not list(store.folder.rglob(".partial-*"))


def test_nothing_is_taken_of_which_nobody_says_who_signed_it(
    shop: Workshop, pairs: tuple[Files, Files], tmp_path: Path
) -> None:
    bundle = shop.bundle(pairs[0], 1)
    with pytest.raises(ConfigError, match="accept_from is empty"):
        BundleStore(tmp_path, ModelsConfig()).take_in(bundle)
    with pytest.raises(ValidationError, match="needs accept_from"):
        ModelsConfig(fetch_from="/media")
    for address in ("ftp://host/", "http://user:secret@host/", "relative", "file:///etc", "http://host/?x=1"):
        with pytest.raises(ValidationError):
            ModelsConfig(accept_from=shop.accepted.accept_from, fetch_from=address)
    own = shop.accepted.model_copy(update={"detector": ModelConfig(path=tmp_path / "own.onnx", sha256="a" * 64)})
    with pytest.raises(ConfigError, match=r"models\.detector\.path names a model"):
        BundleStore(tmp_path, own).take_in(bundle)


def test_an_older_bundle_is_taken_when_the_owner_asks(
    shop: Workshop, pairs: tuple[Files, Files], store: BundleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_trial(monkeypatch)
    store.take_in(shop.bundle(pairs[1], 5))
    store.switch()
    assert store.take_in(shop.bundle(pairs[0], 4), older=True).serial == 4
    assert store.record().highest == 5


def test_a_full_disk_is_told_before_anything_is_written(
    shop: Workshop, pairs: tuple[Files, Files], store: BundleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_store, "free_mb", lambda _: 99.0)
    with pytest.raises(StorageError, match="Make room"):
        store.take_in(shop.bundle(pairs[0], 1))
    assert not (store.folder / "detector").exists()


def service_bundles(store: BundleStore, config: ModelsConfig) -> ModelBundles:
    return ModelBundles(Config(device=DeviceConfig(state_dir=store.folder.parent), models=config))


def test_a_pair_that_cannot_be_loaded_is_given_up_for_the_last_good_one(
    shop: Workshop, pairs: tuple[Files, Files], store: BundleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_trial(monkeypatch)
    service = service_bundles(store, shop.accepted)
    store.take_in(shop.bundle(pairs[0], 1))
    service.switch()
    assert service.loaded(lambda: in_use(store, shop.accepted)) != SHIPPED
    assert [code for _, code, _ in service.news()] == ["models_in_use"]
    good = in_use(store, shop.accepted)
    store.take_in(shop.bundle(pairs[1], 2))
    service.switch()

    def load() -> tuple[str, ...]:
        found = in_use(store, shop.accepted)
        if found != good:
            raise ModelError("the networks do not fit each other")
        return found

    assert service.loaded(load) == good
    assert [code for _, code, _ in service.news()] == ["models_given_up"]
    assert service.state() == (1, "")
    with pytest.raises(InputError, match="newer ones only"):
        store.take_in(shop.bundle(pairs[1], 2))


def test_a_pair_that_ends_the_program_while_it_is_loaded_is_given_up_after_some_starts(
    shop: Workshop, pairs: tuple[Files, Files], store: BundleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_trial(monkeypatch)
    store.take_in(shop.bundle(pairs[0], 1))
    store.switch()
    for _ in range(STARTS_MAX):
        assert store.begin() is None, "killed before `confirm`"
    assert in_use(store, shop.accepted) != SHIPPED
    assert store.begin() is not None
    assert in_use(store, shop.accepted) == SHIPPED


def test_a_backup_carries_the_bundle_in_use_and_its_models(
    shop: Workshop, pairs: tuple[Files, Files], store: BundleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_trial(monkeypatch)
    store.take_in(shop.bundle(pairs[0], 1))
    store.switch()
    names = {name for name, _ in of_a_device(store.folder.parent, "", None)}
    detector, classifier = in_use(store, shop.accepted)
    assert {
        "models/bundles.json", f"models/detector/{detector}.onnx", f"models/classifier/{classifier}.onnx"
    } <= names  # fmt: skip


def test_a_model_of_ones_own_takes_both_halves_of_a_bundle_out_of_use(
    shop: Workshop, pairs: tuple[Files, Files], store: BundleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_trial(monkeypatch)
    store.take_in(shop.bundle(pairs[0], 1))
    store.switch()
    path = pairs[1]["detector", "model"]
    sha256 = json.loads(pairs[1]["detector", "report"].read_text())["model_sha256"]
    mixed = shop.accepted.model_copy(update={"detector": ModelConfig(path=path, sha256=sha256)})
    assert in_use(store, mixed) == (sha256, SHIPPED[1])


def test_after_control_waits_for_a_control_slide_that_passed(
    shop: Workshop, pairs: tuple[Files, Files], store: BundleStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_trial(monkeypatch)
    monkeypatch.setattr("edge.service.model_bundles.POLL_S", 0.0)
    service = service_bundles(store, shop.accepted.model_copy(update={"switch": "after_control"}))

    def ended(code: str) -> Any:
        return SimpleNamespace(stored=SimpleNamespace(code=code)), None

    failure = ""
    loop: Any = SimpleNamespace(ended=ended("control-a-1"), control_failure=lambda _: failure)
    assert not service.due(loop), "nothing waits"
    store.take_in(shop.bundle(pairs[0], 1))
    assert not service.due(loop), "that control slide was read before"
    loop.ended = ended("patient-1")
    assert not service.due(loop)
    failure = "it failed"
    loop.ended = ended("control-a-2")
    assert not service.due(loop)
    failure = ""
    loop.ended = ended("control-a-3")
    assert service.due(loop)
    assert service_bundles(store, shop.accepted).due(loop), "without the setting it waits for no slide"


def test_offers_and_places() -> None:
    offer = Offer(file="models-3.bundle", serial=3, bytes=10, sha256="a" * 64)
    assert parse_offer(offer.to_json().encode()) == offer
    assert parse_offer(b"") is None
    for wrong in (
        {"file": "../x"},
        {"file": "/etc/x"},
        {"bytes": 10**12},
        {"serial": 0},
        {"sha256": "x"},
        {"schema": "y"},
    ):
        with pytest.raises(InputError, match="offer of models"):
            parse_offer(json.dumps({**json.loads(offer.to_json()), **wrong}).encode())
    with pytest.raises(InputError, match="at most"):
        parse_offer(bytes(5000))
    places = [place_of("clinic", f"scope-{number}") for number in range(1000)]
    assert places == [place_of("clinic", f"scope-{number}") for number in range(1000)]
    assert 70 <= sum(place < 0.1 for place in places) <= 130
