"""Which files a path names: those to be read, and those that are left out, each with its reason."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from pathlib import Path

from edge.camera.image_files import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from edge.camera.listing.file_list import FileList, natural_order
from edge.camera.stored_file import StoredFile, path_of
from edge.errors import InputError


class Leftover(str, Enum):
    """Why a file is left out. The value is the name in the results."""

    HIDDEN = "hidden"
    SYSTEM_FOLDER = "system_folder"
    PARTIAL_DOWNLOAD = "partial_download"
    ARCHIVE = "archive"
    UNSUPPORTED_PICTURE = "unsupported_picture"
    NO_PICTURE = "no_picture"
    LINK = "link"
    NOT_ACCESSIBLE = "not_accessible"
    DRAWN_BY_A_SCAN = "drawn_by_a_scan"
    LIVE_PHOTO = "live_photo"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not read.

    Attributes:
        path: where it lies.
        reason: why it is left out.
        instead: the file that is read in its place, of a duplicate, a link or a Live Photo.
    """

    path: Path
    reason: Leftover
    instead: Path | None = None


@dataclass(frozen=True, slots=True)
class InputFiles:
    """The files that paths name: those to be read, in order, and those left out."""

    files: FileList
    left_out: list[LeftOut]


_SYSTEM_FOLDER = re.compile(
    r"""[@$~].*                # bookkeeping of network stores and of Windows: @eaDir, @Recycle, $RECYCLE.BIN, ~snapshot
    | \#?recycle([dr]|[ .]?bin)? | \#snapshot | \.?_*trash(es|ed)?([ _-].*)? | lost\+found | lost\.dir | found\.\d+
    | (recently[ _-]?)?deleted([ _-]?(files|items|photos))? | papierkorb | corbeille | papelera
    | cestino | prullenbak | lixeira | papirkurv | papperskorgen | roskakori | 回收站 | ゴミ箱 | 휴지통
    | gelöschte[ _-](objekte|elemente|dateien|bilder) | \u043a\u043e\u0440\u0437\u0438\u043d\u0430
    | \.?_*thumb(s|nails?)?([ _.-].*)? | thumb(nail)?[ _-]?cache | syno(file|photo)_thumb.* | .*\.lrdata
    | system\ volume\ information | network\ trash\ folder | temporary\ items | _+macosx | \.?appledouble
    | picasaoriginals | _vti_\w+ | _gsdata_ | _syncapp | thmbnl | ((ipod|iphoto)[ ].*)?caches?""",
    re.IGNORECASE | re.VERBOSE,
)
"""Names of folders in which devices and programs keep deleted pictures, previews and their own files."""

_THUMBNAIL = re.compile(r"thumb(nail)?s?[ _-].*|.*[ ._-]thumb(nail)?|syno(file|photo)_thumb.*", re.IGNORECASE)
"""Stems of previews that lie beside their pictures."""

_PARTIAL = frozenset(
    {".crdownload", ".part", ".partial", ".download", ".opdownload", ".filepart", ".tmp", ".!ut", ".!qb", ".aria2",
     ".bc!", ".td", ".incomplete", ".dtapart", ".xltd", ".syncpart", ".icloud"}
)  # fmt: skip
_ARCHIVES = frozenset(
    {".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".iso", ".dmg", ".cab",
     ".lz4", ".zipx"}
)  # fmt: skip
_OTHER_PICTURES = frozenset(
    {".avifs", ".jpx", ".jpf", ".jxl", ".jxr", ".jif", ".jfi", ".gif", ".apng", ".dng", ".cr2", ".cr3", ".crw", ".nef",
     ".nrw", ".arw", ".srf", ".sr2", ".raf", ".rw2", ".orf", ".pef", ".srw", ".x3f", ".raw", ".svs", ".ndpi", ".mrxs",
     ".scn", ".czi", ".zvi", ".lif", ".nd2", ".vsi", ".oib", ".oif", ".bif", ".dcm", ".dicom", ".psd", ".psb", ".xcf",
     ".pdf", ".svg", ".exr", ".hdr", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".tf2", ".tf8", ".3g2", ".mxf", ".insv",
     ".lrv"}
)  # fmt: skip
"""Pictures and videos of kinds that are not read."""

_JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})


def find_inputs(paths: Iterable[Path | str]) -> list[Path]:
    """Return the images and videos that the paths name, each once.

    Files as given, folders (recursive) and globs.

    A folder's or glob's files come in natural order (field2 before field10).

    Raises:
        InputError: A path is not there, or a folder or pattern has no image or video.
    """
    return list(search(paths).files)


def search(paths: Iterable[Path | str]) -> InputFiles:
    """Return the images and videos that the paths name, each once, and what was left out.

    A file named by itself is taken whatever its name. Of a folder or pattern, hidden files, those in folders of deleted
    pictures and previews, and those that are no image or video are left out.

    Raises:
        InputError: A path is not there, or a folder or pattern has no image or video.
    """
    files = FileList()
    left_out: dict[Path, LeftOut] = {}
    for number, given in enumerate(paths):
        path = path_of(given)
        try:
            left_out |= {one.path: one for one in _taken(path, number, files) if one.path not in left_out}
        except OSError as error:
            raise InputError(f"{path} cannot be listed: {error}. Try again when it can be reached") from error
    for path, first in files.settle():
        left_out.setdefault(path, LeftOut(path, Leftover.LINK, first))
    return InputFiles(files, [one for one in left_out.values() if one.path not in files])


def _taken(path: Path, number: int, files: FileList) -> list[LeftOut]:
    """Add the files that a path names to the list; return those that are left out, in natural order."""
    left_out, before = [], files.added
    where, found = _found(path)
    for file, reason in found:
        if reason is None:
            files.add(number, file)
        else:
            left_out.append(LeftOut(file, reason))
    if files.added == before:
        raise InputError(_nothing_in(where, left_out))
    return sorted(left_out, key=lambda one: natural_order(one.path))


def _found(path: Path) -> tuple[str, Iterable[tuple[Path, Leftover | None]]]:
    """Return what a path is, in words, and the files that it names, each with the reason why it is left out."""
    if path.is_file():
        return f"file {path}", [(path, None)]
    if path.is_dir():
        return f"folder {path}", _files_below(path, path)
    if glob.has_magic(str(path)):
        return f"pattern {path}", _matching(path)
    raise InputError(f"{path} not found. Give an image, a video, a folder or a pattern such as 'slides/*.jpg'")


def _nothing_in(where: str, left_out: list[LeftOut]) -> str:
    expected = ", ".join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))
    text = f"{where} has no image or video; expected files ending in {expected}"
    if left_out:
        first = min(left_out, key=lambda one: one.path)
        text += f". {len(left_out)} files were left out, such as {first.path} ({first.reason.value})"
    return text


def _matching(pattern: Path) -> Iterator[tuple[Path, Leftover | None]]:
    root = Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    # Not Path.glob, which takes no absolute pattern.
    for match in map(Path, glob.glob(str(pattern), recursive=True)):  # noqa: PTH207
        # A pattern may match folders too, as a shell's would: their files are taken.
        if match.is_dir():
            yield from _files_below(match, root)
        else:
            yield from _judged(match, root)


def _files_below(folder: Path, root: Path) -> Iterator[tuple[Path, Leftover | None]]:
    """Give each file below a folder with the reason why it is left out, None for one that is read."""
    if isinstance(folder, StoredFile):
        for stored in folder.files():
            yield from _judged(stored, root)
        return
    closed: list[Path] = []
    for where, folders, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        here = Path(where)
        yield from ((here / name, Leftover.LINK) for name in folders if (here / name).is_symlink())
        for name in names:
            yield from _judged(here / name, root)
    yield from ((path, Leftover.NOT_ACCESSIBLE) for path in closed)


def _judged(path: Path, root: Path) -> Iterator[tuple[Path, Leftover | None]]:
    """Give a file with why it is left out; nothing for what systems leave everywhere and is no picture."""
    reason = _left_out(path, path.relative_to(root).parts[:-1])
    if reason in (Leftover.HIDDEN, Leftover.SYSTEM_FOLDER):
        named = path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES | _OTHER_PICTURES
    else:
        named = path.name.lower() not in _JUNK
    if named:
        yield path, reason


def _left_out(path: Path, inside: tuple[str, ...]) -> Leftover | None:
    """Return why a file is left out, None for one to be read.

    Args:
        path: the file.
        inside: the folders between the one that was given and the file.
    """
    if any(_SYSTEM_FOLDER.fullmatch(part) for part in inside):
        return Leftover.SYSTEM_FOLDER
    if path.name.startswith(".") or any(part.startswith(".") for part in inside):
        return Leftover.HIDDEN
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        if _THUMBNAIL.fullmatch(path.stem):
            return Leftover.SYSTEM_FOLDER
        return None if path.is_file() else Leftover.NOT_ACCESSIBLE
    if suffix in _PARTIAL:
        return Leftover.PARTIAL_DOWNLOAD
    if suffix in _ARCHIVES:
        return Leftover.ARCHIVE
    return Leftover.UNSUPPORTED_PICTURE if suffix in _OTHER_PICTURES else Leftover.NO_PICTURE
