"""Where on the slide a frame lies, against those before it; and which of its cells the sample has seen already.

A cell is the same as another where two fields that were matched show both at one place. So it does not matter how
exactly the far ends of a long path meet: only neighbours are ever compared.
"""

from __future__ import annotations

import cmath
import math

import numpy as np

from edge.types import CELLS_KEPT, Cells, Field, Mask, Placement, Reason, Rejection
from edge.vision.registration.field_map import CELLS_MIN, SURE, FieldMap, Ids, Known, Link
from edge.vision.registration.matching import NO_MATCH
from edge.vision.registration.missed_cells import Overlap, missed_before, missed_in
from edge.vision.registration.point_pattern import PointPattern, Similarity

DOUBT = 8.0
"""Evidence from which a likeness is too good to be chance: a frame between this and SURE is not counted."""

SAME_VIEW = 0.95
"""A frame of which a known field shows so much is not kept beside it."""

Joined = list[tuple[int, int]]


class Registrar:
    """Places the frames of one sample after the other."""

    def __init__(self) -> None:
        self._same = np.empty(CELLS_KEPT, np.int64)
        self.clear()

    def clear(self) -> None:
        """Begin a sample."""
        self._map = FieldMap()
        self._last: Link | None = None
        self._same[:] = 0
        self._given = self._islands = 0

    def place(self, field: Field, cells: Cells, stage_um: complex | None = None) -> Placement | Rejection:
        """Place a frame and number its cells.

        One that cannot be placed is rejected, and leaves no trace.

        stage_um: where a motorised stage says that the frame's middle lies, x + iy, right and down; only a hint.
        """
        view = PointPattern.of(field, cells)
        if len(view) < CELLS_MIN:
            return Rejection(Reason.NOT_PLACED, 0.0, SURE)
        links, doubt = self._map.linked(view, self._last, stage_um)
        if not links and doubt >= DOUBT:
            return Rejection(Reason.NOT_PLACED, doubt, SURE)
        links = [self._map.distorted(view, link) for link in links]
        before, joined = self._given, Joined()
        if links:
            place, island = self._met(links, joined)
            links = sorted([*links, *self._map.around(view, place, links)], key=lambda link: -link.match.evidence)
        else:
            place, island, self._islands = Similarity(1, 0), self._islands, self._islands + 1
        self._map.moved(links, place, stage_um)
        ids = self._recognised(len(view), links, joined)
        overlaps = [self._overlap(link) for link in links]
        absent, earlier = missed_in(view, ids, overlaps), missed_before(view, ids, ids < 0, overlaps)
        points = place(view.points())
        shows = [self._map.shows(link.number, points) for link in links]
        self._last = links[0] if links else None
        # Cells cut by the edge are no news: in a view that stands still they flicker.
        if not links or (ids[~cells.border] < 0).any():
            self._last = self._keep(Known(view, self._numbered(ids), place), island, links, shows)
            absent = np.concatenate([absent, np.repeat(np.arange(before, self._given), earlier)])
        return Placement(
            island=island,
            x_um=place.shift.real,
            y_um=place.shift.imag,
            turned_deg=math.degrees(cmath.phase(place.turn)),
            evidence=links[0].match.evidence if links else None,
            ids=ids,
            joined=tuple(joined),
            numbered_before=before,
            found=self._given - before,
            new_share=1.0 - float(np.any(shows, axis=0).mean()) if shows else 1.0,
            islands=self._map.islands(),
            absent=absent,
        )

    def _met(self, links: list[Link], joined: Joined) -> tuple[Similarity, int]:
        """Return the frame's place and island; islands that meet in it become the oldest of them."""
        best: dict[int, Link] = {}
        for link in sorted(links, key=lambda link: link.match.evidence):
            best[self._map.island(link.number)] = link
        island = min(best)
        place = self._map.place_on(best[island])
        for other in sorted(best.keys() - {island}):
            onto = place.after(self._map.place_on(best[other]).inverse())
            for number, near, match in self._map.join(island, other, onto):
                one, two = self._map.fields[number].ids, self._map.fields[near].ids
                self._unite(one, two, match.pairs.tolist(), joined)
        facing = self._map.place_on(best[island]).mirrored
        mine = [(len(link.match.pairs), self._map.place_on(link)) for link in links]
        mine = [(weight, one) for weight, one in mine if one.mirrored == facing]
        total = sum(weight for weight, _ in mine)
        turn, shift = (sum(weight * part for weight, part in parts) / total for parts in (
            [(weight, one.turn) for weight, one in mine], [(weight, one.shift) for weight, one in mine]))  # fmt: skip
        return Similarity(turn, shift, facing), island

    def _unite(self, ids: Ids, others: Ids, pairs: list[list[int]], joined: Joined) -> None:
        """Make cells of two fields one, but never two cells of one field."""
        own = set(self._resolved(ids).tolist())
        for i, j in pairs:
            one, other = self._now(int(ids[i])), self._now(int(others[j]))
            if one != other and other not in own:
                self._make_one(one, other, joined)

    def _recognised(self, count: int, links: list[Link], joined: Joined) -> Ids:
        """Return each cell's number, that of the same cell in a linked field, or −1."""
        ids = np.full(count, -1, np.int64)
        for link in links:
            i, j = link.match.pairs.T
            numbers = self._resolved(self._map.fields[link.number].ids[j])
            news = ~np.isin(numbers, ids[ids >= 0])
            for at, number in zip(i[news].tolist(), numbers[news].tolist(), strict=True):
                ids[at] = number if ids[at] < 0 else self._make_one(int(ids[at]), number, joined)
        # Two boxes of this frame may go by one number, which a later link of one of them joins to an older one.
        ids[ids >= 0] = self._resolved(ids[ids >= 0])
        return ids

    def _make_one(self, one: int, other: int, joined: Joined) -> int:
        kept, dropped = min(one, other), max(one, other)
        self._same[dropped % CELLS_KEPT] = kept
        joined.append((kept, dropped))
        return kept

    def _now(self, number: int) -> int:
        """Return the number that a cell goes by now, of two that were joined the older."""
        while (now := int(self._same[number % CELLS_KEPT])) != number:
            number = now
        return number

    def _resolved(self, ids: Ids) -> Ids:
        """Return the numbers that cells go by now."""
        while not np.array_equal(now := self._same[ids % CELLS_KEPT], ids):
            ids = now
        return ids

    def _numbered(self, ids: Ids) -> Ids:
        """Give new numbers to the cells that have none, in place."""
        new = np.nonzero(ids < 0)[0]
        ids[new] = np.arange(self._given, self._given + len(new))
        self._given += len(new)
        self._map.forget(self._given - CELLS_KEPT)
        self._same[ids[new] % CELLS_KEPT] = ids[new]
        return ids

    def _overlap(self, link: Link) -> Overlap:
        known = self._map.fields[link.number]
        return Overlap(known.view, link.match.motion, self._resolved(known.ids))

    def _keep(self, known: Known, island: int, links: list[Link], shows: list[Mask]) -> Link:
        """Keep a frame that shows something new, by itself or with the field that shows nearly all of it.

        Returns how the frame lies on the field in which it is kept.
        """
        most = max(range(len(links)), key=lambda i: int(shows[i].sum()), default=None)
        if most is not None and shows[most].mean() >= SAME_VIEW:
            host, onto = self._map.fields.get(links[most].number), links[most].match.onto
            if host is not None:
                added = ~np.isin(known.ids, self._resolved(host.ids))
                middle = onto(known.view.middle[added])
                if host.view.shows(middle).all():
                    reach = known.view.reach_turned(links[most].match.motion.turn)[added]
                    host.view = host.view.with_more(middle, reach)
                    host.ids = np.concatenate([host.ids, known.ids[added]])
                    return links[most]
        return Link(self._map.add(known, island), NO_MATCH)
