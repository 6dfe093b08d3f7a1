"""A sample's record as the fields of a message, and back from a stored one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edge.publish.result_messages import Result
from edge.screening.review import ReviewedCounts
from edge.screening.sample_record import Period, SampleRecord, UsedNetworks
from edge.types import CLASSES, Counts, Exclusion, Masked, Reason, Scale, Verdict


def counted_fields(counts: Counts, verdict: Verdict) -> dict[str, Any]:
    """Return the fields of `Counted`."""
    return {
        **{name: counts.by_class[name] for name in CLASSES},
        **{reason.value: counts.excluded.get(reason.value, 0) for reason in Exclusion},
        "cells_seen": counts.cells_seen,
        "red_cells": counts.red_cells,
        "fields_read": counts.fields_read,
        "fields_repeated": counts.fields_repeated,
        "fields_rejected": sum(counts.rejected.values()),
        "islands": counts.islands,
        "area_mm2": counts.area_mm2,
        "fraction": verdict.fraction,
        "fraction_low": verdict.low,
        "fraction_high": verdict.high,
    }


def rejection_fields(rejected: Mapping[str, int]) -> dict[str, Any]:
    """Return the fields of `Rejections`; rejected: frames by reason."""
    return {f"rejected_{reason.value}": rejected.get(reason.value, 0) for reason in Reason}


def network_fields(networks: UsedNetworks) -> dict[str, Any]:
    """Return the fields of `Networks`, which has no thresholds."""
    return {name: value for name, value in asdict(networks).items() if not name.startswith("threshold_")}


def record_fields(record: SampleRecord) -> dict[str, Any]:
    """Return all fields of `Result` that follow from the sample's record."""
    verdict, scale = record.verdict, record.scale
    return {
        **counted_fields(record.counts, verdict),
        **rejection_fields(record.counts.rejected),
        **asdict(record.networks),
        **asdict(record.period),
        "sample_id": record.sample_id,
        "interruptions": record.interruptions,
        "verdict": verdict.status,
        "text": verdict.text,
        "flags": ",".join(verdict.flags),
        "fraction_if_none": verdict.fraction_if_none,
        "fraction_if_all": verdict.fraction_if_all,
        "limit_of_blank": verdict.limit_of_blank,
        "above_blank": verdict.above_blank,
        "um_per_px": scale.um_per_px if scale else None,
        "scale_source": scale.source if scale else None,
        "scale_spread": scale.spread if scale else None,
        "masked_share": record.masked.share if record.masked else 0.0,
        "masked_where": record.masked.where if record.masked else "",
    }


def review_fields(reviewed: ReviewedCounts | None) -> dict[str, Any]:
    """Return the fields of `Reviewed`; none without a review."""
    if reviewed is None:
        return {}
    return {
        "reviewed_cells": reviewed.cells,
        "reviewed_missed": reviewed.missed,
        **{f"reviewed_{name}": number for name, number in reviewed.counts.items()},
        "reviewed_red_cells": reviewed.red_cells,
        "reviewed_fraction": reviewed.fraction,
        "reviewed_fraction_low": reviewed.low,
        "reviewed_fraction_high": reviewed.high,
    }


def record_of(stored: Result) -> SampleRecord:
    """Return the record of a sample from its stored draft, which has no review."""
    return SampleRecord(
        sample_id=stored.sample_id,
        code=stored.sample,
        interruptions=stored.interruptions,
        counts=_counts(stored),
        verdict=Verdict(
            status=stored.verdict,
            red_cells=stored.red_cells,
            sickle=stored.sickle,
            fraction=stored.fraction,
            low=stored.fraction_low,
            high=stored.fraction_high,
            fraction_if_none=stored.fraction_if_none,
            fraction_if_all=stored.fraction_if_all,
            limit_of_blank=stored.limit_of_blank,
            above_blank=stored.above_blank,
            flags=tuple(stored.flags.split(",")) if stored.flags else (),
            text=stored.text,
        ),
        scale=_scale(stored),
        networks=UsedNetworks(**{name: getattr(stored, name) for name in UsedNetworks.__slots__}),
        period=Period(stored.started_ms, stored.ended_ms, stored.duration_s),
        masked=Masked(stored.masked_share, stored.masked_where) if stored.masked_where else None,
    )


def _counts(stored: Result) -> Counts:
    return Counts(
        by_class={name: getattr(stored, name) for name in CLASSES},
        excluded={reason.value: getattr(stored, reason.value) for reason in Exclusion},
        rejected={reason.value: getattr(stored, f"rejected_{reason.value}") for reason in Reason},
        cells_seen=stored.cells_seen,
        fields_read=stored.fields_read,
        area_mm2=stored.area_mm2,
        fields_repeated=stored.fields_repeated,
        islands=stored.islands,
    )


def _scale(stored: Result) -> Scale | None:
    if stored.um_per_px is None or stored.scale_source is None:
        return None
    return Scale(stored.um_per_px, stored.scale_source, stored.scale_spread or 0.0)
