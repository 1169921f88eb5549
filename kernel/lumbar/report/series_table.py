"""What each series of a folder without tables was taken for, or why it was left out."""

from lumbar.report.words import escape

HEADS = ("Series", "Taken for", "Why")


def series_html(study_id: str, about: dict) -> str:
    """Return a table of a study's series; nothing where the data's own table describes them.

    about: as in run.json, whose ``series`` are the decisions of ``plain_folder.scan_folder``.
    """
    rows = "".join(row_html(told) for told in about.get("series", ()) if told["study_id"] == study_id)
    if not rows:
        return ""
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    return (
        '<section aria-labelledby="series"><h2 id="series">Series</h2>'
        '<p class="lead">The folder has no table of series: what each one is was told from its headers, or by'
        ' --series.</p><div class="scroll"><table class="series">'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def row_html(told: dict) -> str:
    taken_for = escape(told["description"] or "left out")
    reason = f" <code>{escape(told['reason'])}</code>" if told["reason"] else ""
    return (
        f'<tr><th scope="row">{escape(told["series_id"])}</th><td>{taken_for}{reason}</td>'
        f"<td>{escape(told['why'])}</td></tr>"
    )
