"""What each series of a folder without tables was taken for, or why it was left out."""

from lumbar.outputs.report.display_text import count, escape
from lumbar.sites import DESCRIPTIONS

HEADS = ("Series", "Taken for", "Why")


def series_html(study_id: str, about: dict) -> str:
    """Return a table of a study's series, used ones first; nothing where the data's own table describes them.

    about: as in run.json, whose ``series`` are the decisions of ``plain_folder.scan_folder``.
    """
    decisions = [told for told in about.get("series", ()) if told["study_id"] == study_id]
    if not decisions:
        return ""
    used = sum(told["description"] is not None for told in decisions)
    rows = "".join(row_html(told) for told in sorted(decisions, key=place))
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    return (
        '<section aria-labelledby="series"><h2 id="series">Series</h2>'
        f'<p class="lead">{used} of {count(len(decisions), "series", "series")} used. The folder has no table of'
        " them: what each one is was told from its headers, or by <code>--series</code>.</p>"
        f'<table class="series"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></section>'
    )


def place(told: dict) -> int:
    """Return where a series stands in the table: the films' order, then what is left out."""
    return DESCRIPTIONS.index(told["description"]) if told["description"] else len(DESCRIPTIONS)


def row_html(told: dict) -> str:
    number = "" if told["number"] is None else f"{told['number']} "
    name = f"<b>{number}{escape(told['text'] or 'without a name')}</b>"
    files = f"<small>{count(told['files'], 'file')} · <code>{escape(told['series_id'])}</code></small>"
    taken_for = f"<b>{escape(told['description'] or 'left out')}</b>"
    if told["reason"]:
        taken_for += f" <small>{escape(told['reason'].replace('_', ' '))}</small>"
    kind = "" if told["description"] else ' class="left-out"'
    why = escape(told["why"])
    return f'<tr{kind}><th scope="row">{name} {files}</th><td>{taken_for}</td><td>{why}</td></tr>'
