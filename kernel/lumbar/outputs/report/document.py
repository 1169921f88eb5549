"""The frame of every page: one file, no request, and a policy that forbids the browser any."""

import base64
import hashlib
from pathlib import Path

from lumbar.outputs.report.display_text import escape

FOLDER = Path(__file__).parent
NOT_CLINICAL = (
    "<strong>Research use only. Not for clinical use.</strong> No physician has checked these numbers,"
    " and no patient’s care may rest on them."
)


def document(title: str, body: str, script: str) -> str:
    """Return a whole page. script: name of the file in this package that it runs. title is escaped here.

    Styles and scripts count only if their hash is in the policy: text from a file that slipped through as
    markup still could not run, nor load anything.
    """
    style, code = (FOLDER / "style.css").read_text("utf-8"), (FOLDER / script).read_text("utf-8")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{fingerprint(style)}'; "
        f"script-src '{fingerprint(code)}'; base-uri 'none'; form-action 'none'"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{body}
<script>{code}</script>
</body>
</html>
"""


def fingerprint(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def facts_html(facts: list[tuple[str, str]]) -> str:
    """Return a list of terms and what they are; both are escaped here, empty ones left out."""
    items = "".join(f"<div><dt>{escape(t)}</dt><dd>{escape(d)}</dd></div>" for t, d in facts if d)
    return f'<dl class="facts">{items}</dl>'


def notice_html(about: dict) -> str:
    """Return what this is and is not."""
    trained_on = about.get("trained_on", "")
    return (
        f'<p class="notice">{NOT_CLINICAL}'
        + (
            f" Weights “{escape(str(about.get('bundle', '')))}”, trained on: {escape(str(trained_on))}."
            if trained_on
            else ""
        )
        + "</p>"
    )
