"""Bundles of models for tests: the shipped graphs under contracts of their own, with reports, signed or not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle.bundle_file import read_bundle, signed_bytes, write_bundle
from edge.config.model import ModelsConfig
from edge.runtime import model_store
from edge.runtime.contract import METADATA_KEY, SHIPPED_DIR, Contract, Role
from fleet.rollout.bundles import make_bundle, public_key
from tests.edge.runtime.test_model_store import CREATED, FIGURES

FILES = tuple((role, kind) for role in ("detector", "classifier") for kind in ("model", "report"))


def _own_model(folder: Path, role: str, name: str) -> Path:
    model = onnx.load(str(SHIPPED_DIR / f"{role}.onnx"))
    text = next(one.value for one in model.metadata_props if one.key == METADATA_KEY)
    contract = Contract.model_validate_json(text).model_copy(update={"name": name, "version": "1"})
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {METADATA_KEY: contract.model_dump_json()})
    path = folder / f"{name}-{role}.onnx"
    onnx.save(model, str(path))
    report = {
        "passed": True,
        "model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "created": CREATED,
        **FIGURES,
    }
    path.with_suffix(".json").write_text(json.dumps(report))
    return path


@dataclass
class Workshop:
    """Makes bundles in a folder, and signs them with its key."""

    folder: Path
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def pair(self, name: str) -> dict[tuple[str, str], Path]:
        """Make models called so, and return the four files."""
        models = {role: _own_model(self.folder, role, name) for role in ("detector", "classifier")}
        return {(role, kind): models[role].with_suffix(".onnx" if kind == "model" else ".json") for role, kind in FILES}

    def bundle(
        self, files: dict[tuple[str, str], Path], serial: int, minimum: str = "0.1.0",
        key: Ed25519PrivateKey | None = None, signed: bool = True,
    ) -> Path:  # fmt: skip
        path = self.folder / f"models-{serial}.bundle"
        make_bundle(path, files, f"pair-{serial}", serial, minimum)
        return self.sign(path, key) if signed else path

    def sign(self, path: Path, key: Ed25519PrivateKey | None = None) -> Path:
        bundle = read_bundle(path)
        begin, parts = bundle.offset, []
        for part in bundle.manifest.parts:
            parts.append((path, begin))
            begin += part.bytes
        write_bundle(path, bundle.payload, (key or self.key).sign(signed_bytes(bundle.payload)), parts)
        return path

    @property
    def accepted(self) -> ModelsConfig:
        return ModelsConfig(threads=1, accept_from=(public_key(self.key),))


def digests_in_use(state: Path, config: ModelsConfig) -> tuple[str, ...]:
    """Return the digests of both networks that a run would load; their files are checked."""
    roles: tuple[Role, ...] = ("detector", "classifier")
    return tuple(model_store.located(role, config, state, "")[1] for role in roles)


def without_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the running of golden pictures, which has tests of its own and takes seconds."""

    def contract_alone(path: Path, sha256: str) -> Contract:
        props = {one.key: one.value for one in onnx.load(str(path)).metadata_props}
        return Contract.model_validate_json(props[METADATA_KEY])

    monkeypatch.setattr(model_store, "_loaded", contract_alone)
