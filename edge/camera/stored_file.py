"""Files of an object store (S3, GCS, Azure, a web server, …) as paths: `s3://bucket/slides/field1.jpg`.

fsspec opens them; which stores it knows hangs on the packages that are installed. Its own files and environment
variables (`FSSPEC_S3_…`) and those of the store's package (`AWS_…`) hold keys and addresses.
"""

from __future__ import annotations

import errno
import io
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as OutOfTime
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PosixPath
from typing import IO, Any

from edge.errors import ConfigError, InputError

ANSWER_S = 60.0
"""Time that a store has for one file, over all tries of its package, before the file counts as unread."""

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])")


def path_of(given: Path | str) -> Path:
    """Return the path that is meant by what was given: on this computer, or in an object store."""
    if isinstance(given, Path) or "://" not in given:
        return Path(given).expanduser() if not isinstance(given, StoredFile) else given
    if given.startswith(("file://", "local://")):
        return Path(given.partition("://")[2])
    return StoredFile(given)


def is_url(path: Path) -> bool:
    """Whether a path was written as a URL, of which `Path` has left one slash."""
    return _URL.match(os.fspath(path)) is not None


class StoreError(OSError):
    """A store did not give what it may give another time."""


class StoredFile(PosixPath):
    """A file or folder of an object store; its text is its URL.

    What is known of it from a listing is not asked for again. `fetched` holds its bytes, or why there are none, where
    they were brought before.
    """

    known: tuple[int, int] | None = None
    """Size in bytes, and time of the last change in ns."""
    fetched: bytes | OSError | None = None

    def __reduce__(self) -> Any:
        return StoredFile, (str(self),), {"known": self.known, "fetched": self.fetched}

    def __str__(self) -> str:
        return _URL.sub(r"\1://", super().__str__(), count=1)

    def __fspath__(self) -> str:
        return str(self)

    def resolve(self, strict: bool = False) -> StoredFile:
        """Return the path itself: a store has no links."""
        return self

    def absolute(self) -> StoredFile:
        """Return the path itself."""
        return self

    def is_symlink(self) -> bool:
        """Return False: a store has no links."""
        return False

    def is_file(self, **_: Any) -> bool:
        """Whether it is an object of the store."""
        return self.known is not None or self._is("file")

    def is_dir(self, **_: Any) -> bool:
        """Whether objects lie below it."""
        return self.known is None and self._is("directory")

    def exists(self, **_: Any) -> bool:
        """Whether it is there."""
        return self.is_file() or self.is_dir()

    def stat(self, **_: Any) -> os.stat_result:
        """Return size and time of the last change; nothing else is known."""
        size, changed_ns = self.known or _size_and_time(self._asked("info"))
        return os.stat_result((0o100444, 0, 0, 1, 0, 0, size, 0, changed_ns // 10**9, 0), {"st_mtime_ns": changed_ns})

    def open(self, mode: str = "r", *_: Any, **__: Any) -> IO[Any]:  # type: ignore[override]
        """Open for reading bytes; the whole file is brought."""
        if mode != "rb":
            raise OSError(f"{self} can be read as bytes only; asked for {mode!r}")
        return io.BytesIO(self.read_bytes())

    def read_bytes(self) -> bytes:
        """Return its bytes; raises OSError where the store does not give them."""
        if isinstance(self.fetched, OSError):
            raise self.fetched
        return bytes(self._asked("cat_file")) if self.fetched is None else self.fetched

    def fetch(self) -> StoredFile:
        """Return the path with its bytes, or with why the store does not give them."""
        brought = StoredFile(str(self))
        brought.known = self.known
        try:
            brought.fetched = self.read_bytes()
        except OSError as error:
            brought.fetched = error
        return brought

    def files(self) -> Iterator[StoredFile]:
        """Give each file below it; raises OSError where the store does not answer."""
        for name, about in self._asked("find", detail=True).items():
            found = StoredFile(name if "://" in name else f"{_scheme(self)}://{name.lstrip('/')}")
            found.known = _size_and_time(about)
            yield found

    def _is(self, kind: str) -> bool:
        try:
            return bool(self._asked("info")["type"] == kind)
        except FileNotFoundError:
            return False

    def _asked(self, method: str, **options: Any) -> Any:
        """Return what the store answers.

        Raises FileNotFoundError where there is no such file, StoreError for whatever keeps it from answering in time.
        """
        filesystem, path = _filesystem(str(self))
        try:
            return _within(ANSWER_S, lambda: getattr(filesystem, method)(path, **options))
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, "the store has no such file", str(self)) from error
        except OutOfTime as error:
            raise StoreError(f"the store {_scheme(self)}:// did not answer in time ({ANSWER_S:g} s)") from error
        except Exception as error:
            # Each store's package has errors of its own; that of one file must not end a scan.
            raise StoreError(f"the store {_scheme(self)}:// gave {type(error).__name__}: {error}") from error


def _scheme(path: StoredFile) -> str:
    return str(path).partition("://")[0]


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what a call returns; raise TimeoutError, and leave it alone, where it takes longer."""
    answer: Future[Any] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            answer.set_exception(error)

    threading.Thread(target=run, name="store", daemon=True).start()
    return answer.result(seconds)


def _filesystem(url: str) -> tuple[Any, str]:
    scheme = url.partition("://")[0]
    try:
        import fsspec
    except ImportError as error:
        raise ConfigError(
            f"{url} lies in an object store, which needs fsspec: pip install 'sicklescope[s3]' for S3, or fsspec and "
            "the package of the store"
        ) from error
    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url} cannot be opened: {error}. {scheme}:// must be a store that fsspec knows") from error
    return found


def _size_and_time(about: dict[str, Any]) -> tuple[int, int]:
    """Return size and time of the last change, 0 where the store does not tell, of fsspec's description of a file."""
    changed = next((about[key] for key in ("LastModified", "mtime", "last_modified", "created") if about.get(key)), 0)
    seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
    return int(about.get("size") or 0), int(seconds * 10**9)


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """Give a path that libraries of other languages can open.

    The path itself, or a copy of what a store has, for as long as it is needed.

    Raises OSError where the store does not give the file.
    """
    if not isinstance(path, StoredFile):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="sicklescope-") as folder:
        copy = Path(folder) / f"copy{path.suffix}"
        copy.write_bytes(path.read_bytes())
        yield copy
