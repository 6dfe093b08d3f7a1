"""The fields of a sample that showed something new, where each lies, and which of them a frame may overlap.

Of a field only the places of its cells are kept, some kilobytes, and nothing of its pixels.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from edge.types import Mask
from edge.vision.registration import correlation
from edge.vision.registration.distortion import Places
from edge.vision.registration.geometric_hash import GeometricHash
from edge.vision.registration.matching import Match, distorted, matched
from edge.vision.registration.point_pattern import PointPattern, Similarity

Ids = NDArray[np.int64]

SURE = 10.0
"""Evidence from which a likeness that was searched for is taken for true."""

TURN_USUAL, ZOOM_USUAL, UNUSUAL_COSTS = 0.5, 0.1, 4.0
"""A field that is mirrored, turned by more than a hand turns a slide (0.5 is 29°) or zoomed by more than this needs so
much more evidence: among so many ways to lie, 100 pictures of different places reached 10.3 by chance.
"""

NEIGHBOUR_SURE = 4.0
"""The same where the place was known beforehand, so that there was nothing to choose from."""

DRIFT_UM, DRIFTED_SURE = 40.0, 7.0
"""How far a field may lie from where its neighbours say, and the evidence that it lies there."""

SHARE_MIN = 0.45
"""Part of the cells shared by two fields that must coincide; of real fields photographed twice at least 0.53 did."""

UNMOVED = 0.9
"""A frame that shares so many cells with the last one, where that one lay, need not be looked for elsewhere."""

STAYS = 0.7
"""One that shares so many is laid over others only, and not over the last one again."""

CELLS_MIN = 6
"""A field of fewer cells cannot be told from another."""

RECALLED, SEARCHED, NEAREST, NEWEST, AROUND = 4, 4, 8, 3, 6
"""How many are tried of: fields recalled by constellation; shifts over one field; fields that are guessed to be near,
and the newest, where it is not known; known neighbours.
"""

GUESS_REACH = 4.0
"""A guess is tried where it is within so many half diagonals of a field."""

GAIN_MIN = 0.04
"""A neighbour must show so much of the frame that fewer than two others show."""

TURNS_DEG = (-4, 4, -8, 8, -12, 12, -16, 16, -20, 20, -24, 24, -28, 28)
ZOOMS = (0.93, 1.07)
FACTORS = [*(cmath.rect(1, math.radians(turn)) for turn in TURNS_DEG), *map(complex, ZOOMS)]
"""What else is tried with pictures of a telephone held to an eyepiece, which is turned and zoomed by hand."""

ZOOMS_RECALLED, ZOOMED = (0.62, 0.7, 0.79, 0.89, 1.13, 1.27, 1.43, 1.6), 2
"""A picture of the same place at another magnification is recognised at these zooms, and those within 7 % of them; of
each so many fields are tried.
"""


@dataclass(slots=True)
class Known:
    """A field that is kept.

    ids: the number of each of its cells; place: from the field to its island.
    """

    view: PointPattern
    ids: Ids
    place: Similarity


@dataclass(frozen=True, slots=True)
class Link:
    """A frame lies so on a known field."""

    number: int
    match: Match


class FieldMap:
    """The known fields, numbered from 0 as they came; a number is never used again."""

    def __init__(self) -> None:
        correlation.forget()
        _turned.cache_clear()
        self.fields: dict[int, Known] = {}
        self.count = 0
        self._hash = GeometricHash()
        # By number, so that thousands are looked through at once; island −1: forgotten.
        self._at = np.zeros(256, np.complex128)
        self._guess = np.zeros(256, np.complex128)
        self._island = np.full(256, -1, np.int64)
        self._reach = 0.0
        # Where fields are guessed to lie to each other over all islands, as if the slide had moved on as before, or as
        # the stage says since it last told where it stands: there, and what was guessed then.
        self._now = self._step = 0j
        self._told: tuple[complex, complex] | None = None

    def add(self, known: Known, island: int) -> int:
        """Keep a field, guessed to lie as the last frame was; returns its number."""
        number, self.count = self.count, self.count + 1
        if number == len(self._at):
            self._at = np.concatenate([self._at, np.zeros_like(self._at)])
            self._guess = np.concatenate([self._guess, np.zeros_like(self._guess)])
            self._island = np.concatenate([self._island, np.full_like(self._island, -1)])
        self.fields[number] = known
        self._at[number], self._island[number] = known.place.shift, island
        self._guess[number] = self._now
        self._reach = max(self._reach, abs(known.view.half))
        self._hash.add(known.view, number)
        return number

    def forget(self, ids_before: int) -> None:
        """Forget fields with a cell numbered below that, the oldest first."""
        for number in list(self.fields):
            if int(self.fields[number].ids.min()) >= ids_before:
                return
            del self.fields[number]
            self._island[number] = -1

    def island(self, number: int) -> int:
        """Return the island on which a field lies."""
        return int(self._island[number])

    def islands(self) -> int:
        """Return how many islands have a field."""
        return len(np.unique(self._island[self._island >= 0]))

    def place_on(self, link: Link) -> Similarity:
        """Return where a linked frame lies on the field's island."""
        return self.fields[link.number].place.after(link.match.motion)

    def shows(self, number: int, points: Places) -> Mask:
        """Return which points of its island a field shows."""
        known = self.fields[number]
        return known.view.shows(known.place.inverse()(points))

    def linked(
        self, view: PointPattern, last: Link | None, stage_um: complex | None = None
    ) -> tuple[list[Link], float]:
        """Return the fields that a frame surely overlaps, or the best evidence found.

        stage_um: where a motorised stage says that it stands, x + iy. It says where to look, and a likeness that lies
        there needs less evidence than one that was found anywhere; it is never evidence itself, for stages slip.
        """
        if last is None or last.number not in self.fields:
            return [], 0.0
        tried = [Link(last.number, matched(view, self.fields[last.number].view, last.match.motion))]
        kept = tried[0].match.share if sure(tried[0].match) else 0.0
        if kept < UNMOVED:
            for number, motion in self._hash.like(view, RECALLED):
                if number in self.fields and not (number == last.number and kept >= STAYS):
                    tried.append(Link(number, matched(view, self.fields[number].view, motion)))
        if links := _best_of_each(tried):
            return self._with_other_islands(view, links), 0.0
        tried += self._zoomed(view)
        if links := _best_of_each(tried):
            return self._with_other_islands(view, links), 0.0
        guess = self._expected(stage_um)
        for number in dict.fromkeys([*self._guessed_near(guess, set()), *islice(reversed(self.fields), NEWEST)]):
            tried += self._searched(view, number)
            if links := _best_of_each(tried):
                return self._with_other_islands(view, links), 0.0
        if stage_um is not None and self._told is not None:
            there = [
                link for link in tried if abs(link.match.motion.shift - guess + self._guess[link.number]) < DRIFT_UM
            ]
            if links := _best_of_each(there, DRIFTED_SURE):
                return self._with_other_islands(view, links), 0.0
        return [], max((_weighed(link.match) for link in tried if link.match.share >= SHARE_MIN), default=0.0)

    def _zoomed(self, view: PointPattern) -> list[Link]:
        """Lay a frame that is like no field over those that it is like when it is zoomed."""
        return [
            Link(number, matched(view, self.fields[number].view, motion.after(Similarity(zoom, 0))))
            for zoom, number, motion in self._hash.like_zoomed(view, ZOOMED, ZOOMS_RECALLED)
            if number in self.fields
        ]

    def distorted(self, view: PointPattern, link: Link) -> Link:
        """Return the link with the cells that match only along the distortion.

        Of one picture against the other.
        """
        return Link(link.number, distorted(view, self.fields[link.number].view, link.match))

    def _expected(self, stage_um: complex | None) -> complex:
        """Return where the next frame is guessed to lie."""
        if stage_um is None or self._told is None:
            return self._now + self._step
        stood, then = self._told
        return then + stage_um - stood

    def around(self, view: PointPattern, place: Similarity, links: list[Link]) -> list[Link]:
        """Return further fields that a placed frame overlaps.

        Those that show parts of it which few show yet.
        """
        points, more = place(view.points()), []
        shown = np.sum([self.shows(link.number, points) for link in links], axis=0)
        tried = {link.number for link in links}
        apart = np.where(self._island == self.island(links[0].number), np.abs(self._at - place.shift), np.inf)
        near = np.nonzero(apart < self._reach + abs(view.half))[0]
        for number in near[np.argsort(apart[near], kind="stable")][: 4 * AROUND].tolist():
            adds = self.shows(number, points)
            if number in tried or np.count_nonzero(adds & (shown < 2)) < GAIN_MIN * len(points):
                continue
            match = self._neighbour(view, number, place)
            if match is not None:
                more.append(Link(number, match))
                shown = shown + adds
            if len(more) == AROUND:
                break
        return more

    def join(self, island: int, other: int, onto: Similarity) -> list[tuple[int, int, Match]]:
        """Bring the fields of another island onto this one.

        Return pairs of fields, other and this, that overlap.
        """
        here, there = (np.nonzero(self._island == one)[0].tolist() for one in (island, other))
        for number in there:
            known = self.fields[number]
            known.place = onto.after(known.place)
            self._at[number] = known.place.shift
        found = []
        for number in there:
            known = self.fields[number]
            for near in np.array(here)[np.abs(self._at[here] - self._at[number]) < 2 * self._reach].tolist():
                match = self._neighbour(known.view, near, known.place)
                if match is not None:
                    found.append((number, near, match))
        self._island[there] = island
        return found

    def _neighbour(self, view: PointPattern, number: int, place: Similarity) -> Match | None:
        """Match a placed frame with a field that should lie under it."""
        known = self.fields[number]
        onto = known.place.inverse().after(place)
        match = matched(view, known.view, onto)
        if sure(match, NEIGHBOUR_SURE):
            return distorted(view, known.view, match)
        if match.expected < CELLS_MIN:
            return None
        # A long way round does not end quite where it began.
        near = [one for one in correlation.search(view, known.view, SEARCHED) if abs(one(0) - onto(0)) < DRIFT_UM]
        found = [found for found in (matched(view, known.view, one) for one in near) if sure(found, DRIFTED_SURE)]
        best = max(found, key=lambda one: one.evidence, default=None)
        return best and distorted(view, known.view, best)

    def _searched(self, view: PointPattern, number: int) -> list[Link]:
        """Lay the frame over a known field in every way."""
        known = self.fields[number].view
        tried = [Link(number, matched(view, known, motion)) for motion in correlation.search(view, known, SEARCHED)]
        if (view.nearly_whole and known.nearly_whole) or any(sure(link.match) for link in tried):
            return tried
        for factor in FACTORS:
            for motion in correlation.search(_turned(view, factor), known, 1):
                tried.append(Link(number, matched(view, known, motion.after(Similarity(factor, 0)))))
                if sure(tried[-1].match):
                    return tried
        return tried

    def _with_other_islands(self, view: PointPattern, links: list[Link]) -> list[Link]:
        """Return the links and those to fields of other islands, which the frame may join by a narrow strip."""
        islands = {self.island(link.number) for link in links}
        best = max(links, key=lambda link: link.match.evidence)
        guess = complex(self._guess[best.number] + self.place_on(best).shift - self._at[best.number])
        near = self._guessed_near(guess, islands)
        return _best_of_each([*links, *(link for number in near for link in self._searched(view, number))])

    def _guessed_near(self, guess: complex, but: set[int]) -> list[int]:
        """Return the fields that may be near a place, the nearest first, but those of some islands."""
        elsewhere = (self._island >= 0) & ~np.isin(self._island, list(but))
        apart = np.where(elsewhere, np.abs(self._guess - guess), np.inf)
        near = np.argsort(apart, kind="stable")[:NEAREST]
        return [int(number) for number in near[apart[near] < GUESS_REACH * self._reach]]

    def moved(self, links: list[Link], place: Similarity, stage_um: complex | None = None) -> None:
        """Take note of where the frame is guessed to lie.

        links: the surest first, none on a new island.
        """
        if links:
            best = links[0].number
            now = complex(self._guess[best] + place.shift - self._at[best])
            self._now, self._step = now, now - self._now
        elif self.fields:
            self._now = self._expected(stage_um)
        if stage_um is not None:
            self._told = stage_um, self._now


@lru_cache(len(FACTORS))
def _turned(view: PointPattern, factor: complex) -> PointPattern:
    """Return a turned frame, the same one for each field that it is laid over, so that its spectrum is made once."""
    return view.turned(factor)


def sure(match: Match, limit: float = SURE) -> bool:
    """Return whether a match is taken for true."""
    return _weighed(match) >= limit and match.share >= SHARE_MIN


def _weighed(match: Match) -> float:
    """Return the evidence of a match, less what it costs to have looked in unusual ways."""
    turn = match.motion.turn
    usual = not match.motion.mirrored and abs(turn - 1) < TURN_USUAL and abs(abs(turn) - 1) < ZOOM_USUAL
    return match.evidence if usual else match.evidence - UNUSUAL_COSTS


def _best_of_each(links: Iterable[Link], limit: float = SURE) -> list[Link]:
    """Return, of the links that are sure, the best one to each field."""
    best: dict[int, Link] = {}
    for link in links:
        if sure(link.match, limit) and (
            link.number not in best or link.match.evidence > best[link.number].match.evidence
        ):
            best[link.number] = link
    return list(best.values())
