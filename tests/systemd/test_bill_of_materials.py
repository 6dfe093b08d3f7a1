"""The bill of materials and the notices of a bundle, from real wheels; and the signature of a release."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.systemd.install_parts import SYSTEMD


def wheel(folder: Path, name: str, metadata: str, **texts: str) -> None:
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as made:
        made.writestr(f"{about}/METADATA", f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{metadata}")
        for place, text in texts.items():
            made.writestr(f"{about}/{place}", text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write the files of a bundle of four packages."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    requires = "Requires-Dist: modern>=1\nRequires-Dist: older[fast]>=1; extra == 'x'\nRequires-Dist: elsewhere\n"
    wheel(wheels, "sicklescope", f"License-Expression: Apache-2.0\n{requires}")
    wheel(wheels, "modern", "License-Expression: MIT OR BSD-3-Clause\n", **{"licenses/LICENSE": "the modern words"})
    wheel(
        wheels, "Older", "License: GNU LGPL\nClassifier: License :: OSI Approved :: BSD License\n", COPYING="old words"
    )
    wheel(wheels, "silent", "Summary: says nothing\n")
    done = subprocess.run(
        [sys.executable, SYSTEMD / "bill_of_materials.py", wheels, tmp_path], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_the_bill_is_valid_and_names_each_package_with_digest_and_licence(folder: Path) -> None:
    text = (folder / "bill-of-materials.cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = json.loads(text)
    assert found["metadata"]["component"]["name"] == "sicklescope"
    by_name = {one["name"]: one for one in found["components"]}
    assert set(by_name) == {"modern", "Older", "silent"}
    assert by_name["modern"]["licenses"] == [{"expression": "MIT OR BSD-3-Clause", "acknowledgement": "declared"}] or (
        by_name["modern"]["licenses"] == [{"expression": "MIT OR BSD-3-Clause"}]
    )
    assert by_name["Older"]["licenses"][0]["license"]["name"] == "BSD License"
    assert by_name["silent"]["licenses"][0]["license"]["name"] == "not stated"
    assert by_name["modern"]["purl"] == "pkg:pypi/modern@1.0"
    assert len(by_name["modern"]["hashes"][0]["content"]) == 64
    needs = {one["ref"]: one.get("dependsOn", []) for one in found["dependencies"]}
    assert needs["sicklescope==1.0"] == ["Older==1.0", "modern==1.0"]
    assert needs["modern==1.0"] == []


def test_the_notices_carry_every_text(folder: Path) -> None:
    text = (folder / "THIRD-PARTY-NOTICES.txt").read_text("utf-8")
    for words in ("modern 1.0: MIT OR BSD-3-Clause", "the modern words", "Older 1.0: BSD License", "\nold words\n",
                  "silent 1.0: not stated", "carries no text"):  # fmt: skip
        assert words in text
    assert "sicklescope 1.0" not in text


def test_a_release_is_signed_and_a_changed_file_shows(folder: Path) -> None:
    def run(*words: str | Path) -> int:
        return subprocess.run(words, cwd=folder, capture_output=True).returncode

    assert run("openssl", "genpkey", "-algorithm", "ed25519", "-out", "release.key") == 0
    assert run("openssl", "pkey", "-in", "release.key", "-pubout", "-out", "release.pub") == 0
    for _ in range(2):  # again: what was signed before is no part of it
        assert run(SYSTEMD / "sign_release.sh", "wheels", "release.key") == 0
    assert len((folder / "wheels/SHA256SUMS").read_text().splitlines()) == 4
    verify = ("openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "release.pub", "-rawin", "-in",
              "wheels/SHA256SUMS", "-sigfile", "wheels/SHA256SUMS.sig")  # fmt: skip
    assert run(*verify) == 0
    with (folder / "wheels/SHA256SUMS").open("a") as sums:
        sums.write("\n")
    assert run(*verify) != 0
    (folder / "empty").mkdir()
    assert run(SYSTEMD / "sign_release.sh", "empty", "release.key") == 2
