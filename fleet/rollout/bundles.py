"""Makes and signs bundles. Whoever makes one need not be who signs it."""

from __future__ import annotations

import base64
from datetime import datetime, timezone
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from edge.bundle.bundle_file import Bundle, read_bundle, signed_bytes, write_bundle
from edge.bundle.manifest import PARTS, Manifest
from edge.errors import InputError
from edge.system.digest import sha256_file
from fleet.keys.key_files import read_key, write_key


def make_key(path: Path, password: bytes) -> str:
    """Make a signing key, and return its public key for `models.accept_from`.

    Raises:
        InputError: There is one.
    """
    if path.exists():
        raise InputError(f"{path} is there already. Devices may know its key: keep it, or name another file")
    key = Ed25519PrivateKey.generate()
    write_key(path.absolute(), key, password)
    return public_key(key)


def public_key(key: Ed25519PrivateKey) -> str:
    """Return a key's public half: raw, in base64."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def make_bundle(
    target: Path, files: dict[tuple[str, str], Path], name: str, serial: int, minimum_version: str
) -> Manifest:
    """Write a bundle that is not signed yet.

    Args:
        target: the file.
        files: by role and kind, as in PARTS.
        name: of the pair, for people.
        serial: above that of every bundle that devices have.
        minimum_version: of sicklescope, for a device to take it.

    Raises:
        InputError: A file cannot be read, or a value is none that a bundle can hold.
        StorageError: There is no room.
    """
    parts = []
    for role, kind in PARTS:
        path = files[role, kind]
        try:
            parts.append({"role": role, "kind": kind, "sha256": sha256_file(path), "bytes": path.stat().st_size})
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        manifest = Manifest.model_validate(
            {
                "name": name, "serial": serial, "minimum_version": minimum_version, "parts": tuple(parts),
                "created": datetime.now(timezone.utc),
            }
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}; found {first['input']!r}") from error
    write_bundle(target, manifest.model_dump_json().encode(), b"", [(files[part], 0) for part in PARTS])
    return manifest


def sign_bundle(path: Path, key_file: Path, password: bytes) -> tuple[Bundle, str]:
    """Sign a bundle where it lies; return it with the public key.

    Raises:
        InputError: It is no bundle, or the key cannot be opened.
        StorageError: There is no room.
    """
    bundle, key = read_bundle(path), read_key(key_file, password)
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{key_file} holds another kind of key; expected that of `sicklescope-fleet bundle key`")
    offsets, begin = [], bundle.offset
    for part in bundle.manifest.parts:
        offsets.append((path, begin))
        begin += part.bytes
    write_bundle(path, bundle.payload, key.sign(signed_bytes(bundle.payload)), offsets)
    return read_bundle(path), public_key(key)
