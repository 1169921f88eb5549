"""Templates -> whole pages: one file each, with a policy that allows no request but for pictures beside the page.

Markup stands in ``templates``, where every value is escaped as it is inserted. The browser uses only the style and
the script with a hash in the page's policy. Text of a file that became markup by a mistake could not run or load.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lumbar.outputs.report import display_text
from lumbar.outputs.report.key_slices import SHAPES
from lumbar.outputs.report.slice_views import site_choices
from lumbar.sites import DESCRIPTIONS, LEVEL_WORDS, SEVERITY_LABELS, SITES

FOLDER = Path(__file__).parent


@cache
def templates() -> Environment:
    """Return the templates with the filters and constants that they use."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "capitalised": display_text.capitalised,
        "counted": display_text.count,
        "fingerprint": fingerprint,
        "group_title": display_text.group_title,
        "percent": display_text.percent,
        "reason_words": display_text.reason_words,
        "shade": display_text.shade,
        "site_title": display_text.site_title,
    }
    environment.tests["ungraded"] = display_text.is_ungraded
    environment.globals |= {
        "DESCRIPTIONS": DESCRIPTIONS,
        "GROUP_ORDER": display_text.GROUP_ORDER,
        "LEVEL_WORDS": LEVEL_WORDS,
        "SEVERITY_LABELS": SEVERITY_LABELS,
        "SHAPES": SHAPES,
        "SHORT_LABELS": display_text.SHORT_LABELS,
        "SITES": SITES,
        "SITE_CHOICES": site_choices(),
    }
    return environment


def render(template: str, scripts: tuple[str, ...], **values) -> str:
    """Return a whole page.

    Args:
        template: File in ``templates``.
        scripts: Files in this folder that the page runs, in this order.
        values: Variables of the template. Bytes of file names that are no UTF-8 become "?".
    """
    style, *code = (Markup((FOLDER / name).read_text("utf-8")) for name in ("style.css", *scripts))
    page = templates().get_template(template).render(style=style, script=Markup("").join(code), **values)
    return page.encode("utf-8", "replace").decode()


def fingerprint(text: str) -> str:
    """Return the hash of a style or script as a Content Security Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
