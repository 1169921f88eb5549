"""The slices that the grades of each level were read from, in words."""

from collections.abc import Mapping

from lumbar.grading.patient_points import Places
from lumbar.outputs.report.display_text import GROUP_ORDER
from lumbar.reading.study import Study
from lumbar.reading.volume import Volume
from lumbar.sites import DESCRIPTION_SITES, LEVELS, SITES


def level_sources(
    study: Study | None, places: Mapping[str, Mapping[str, Places]], about: dict
) -> dict[str, str]:
    """Return for each level the slices of all detectors' points: "Sagittal T2/STIR slice 8, Axial T2 slice 21".

    Slices have the numbers of the films and of the viewer.

    Args:
        study: None where its pictures are no longer at hand: no level has a source then.
        places: By detector and description.
        about: As in run.json; the numbers of the series are those of ``series``.
    """
    if study is None:
        return {}
    names = series_names(study.study_id, about)
    sources = {}
    for level in LEVELS:
        parts = [description_slices(d, level, study.volumes[d], places, names) for d in study.volumes]
        sources[level] = ", ".join(filter(None, parts))
    return {level: words for level, words in sources.items() if words}


def series_names(study_id: str, about: dict) -> dict[str, str]:
    """Return the scanner's number of each series that has one of its own, by series id."""
    told = [series for series in about.get("series", ()) if series["study_id"] == study_id]
    numbers = [series["number"] for series in told]
    return {s["series_id"]: str(s["number"]) for s in told if s["number"] and numbers.count(s["number"]) == 1}


def description_slices(
    description: str,
    level: str,
    volume: Volume,
    places: Mapping[str, Mapping[str, Places]],
    names: Mapping[str, str],
) -> str:
    """Return one description's slices at a level, the patient's right first; an empty text without a point.

    The series is named where the description has several.
    """
    start = DESCRIPTION_SITES[description].start
    found = [seen[description] for seen in places.values() if description in seen]
    sides: dict[tuple[int, ...], list[str]] = {}  # by the slices of the detectors
    for group in GROUP_ORDER:
        for site in SITES[DESCRIPTION_SITES[description]]:
            if found and (site.group, site.level) == (group, level):
                slices = tuple(sorted({int(one.slices[site.index - start]) for one in found}))
                sides.setdefault(slices, []).append(site.side or "")
    parts = []
    for slices, own in sides.items():
        series = dict.fromkeys(volume.headers[index].series_id for index in slices)
        remarks = own if len(sides) > 1 else []
        if volume.series_count > 1:
            remarks = [*remarks, "series " + " and ".join(names.get(one, one) for one in series)]
        numbers = " and ".join(str(index + 1) for index in slices)
        parts.append(f"{numbers} ({', '.join(remarks)})" if remarks else numbers)
    noun = "slice" if len({index for slices in sides for index in slices}) == 1 else "slices"
    return f"{description} {noun} {', '.join(parts)}" if parts else ""
