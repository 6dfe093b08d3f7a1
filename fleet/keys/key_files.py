"""Private keys on the disk: each a PEM file that its owner alone can read."""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edge.errors import InputError
from edge.system.atomic_files import aside, move, storage_errors


def write_key(path: Path, key: EllipticCurvePrivateKey | Ed25519PrivateKey, password: bytes | None) -> None:
    """Write a key, mode 0600; without a password it is not encrypted, as a service needs it.

    Raises:
        StorageError: There is no room, or no right to write.
    """
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    write_file(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), 0o600)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all; raises StorageError."""
    with aside(path.parent) as folder:
        unfinished = folder / path.name
        with storage_errors(path):
            unfinished.touch(mode)
            unfinished.chmod(mode)
            unfinished.write_bytes(data)
        move(unfinished, path)


def read_key(path: Path, password: bytes) -> PrivateKeyTypes:
    """Read a key of any kind; raises InputError when it cannot be opened."""
    try:
        return load_pem_private_key(path.read_bytes(), password)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(f"{path} cannot be opened: {error}. Is the password right, and is it a PEM file?") from error
