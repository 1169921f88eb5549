"""What a reader should know before the rest: the fallback and its reasons, the flags, the faults of files."""

from collections import Counter

from lumbar.grading.plausibility import Flag
from lumbar.outputs.report.display_text import GROUP_ORDER, REASON_WORDS, capitalised, count, escape
from lumbar.outputs.report.result import Result
from lumbar.sites import GROUP_WORDS, LEVEL_WORDS, SITES

FAULTS_SHOWN = 40  # run.json holds them all
MESSAGE_SHOWN = 600  # characters


def concerns_html(result: Result) -> str:
    """Return a section of all that is to be doubted; nothing for a study without."""
    items = [*fallback_items(result), *map(flag_item, result.flags), *fault_items(result)]
    if not items:
        return ""
    listed = "".join(f"<li>{item}</li>" for item in items)
    return (
        '<section class="concerns" aria-labelledby="concerns">'
        f'<h2 id="concerns">To look at first</h2><ul>{listed}</ul></section>'
    )


def fallback_items(result: Result) -> list[str]:
    if result.probabilities is None:
        return ["<b>Not graded.</b> The prior, the same for every study, is submitted instead."]
    items = [
        f"<b>No {escape(description)}.</b> Its sites are graded from empty crops and from what the others show."
        for description in result.missing
    ]
    if result.members_run < result.planned:
        items.append(
            f"<b>Fewer members.</b> {result.members_run} of {result.planned} had a say: time ran short, or some failed."
        )
    return items


def flag_item(flag: Flag) -> str:
    links = site_links(flag.sites)
    return f"{reason_html(flag.reason)}<br>{escape(flag.message)}" + (f"<br>{links}" if links else "")


def fault_items(result: Result) -> list[str]:
    """Return the faults, one item a reason, the messages folded away where they are many."""
    items = []
    for reason, number in Counter(fault.reason for fault in result.faults).items():
        messages = [fault.message for fault in result.faults if fault.reason == reason]
        lines = "".join(f"<li>{escape(message[:MESSAGE_SHOWN])}</li>" for message in messages[:FAULTS_SHOWN])
        if number > FAULTS_SHOWN:
            lines += f"<li>and {number - FAULTS_SHOWN} more, in run.json</li>"
        opened = " open" if number <= 3 else ""
        items.append(
            f"{reason_html(reason)}<details{opened}><summary>{count(number, 'case')}</summary>"
            f"<ul>{lines}</ul></details>"
        )
    return items


def reason_html(reason: str) -> str:
    words = REASON_WORDS.get(reason, reason)
    return f"<b>{escape(capitalised(words))}</b> <code>{escape(reason)}</code>"


def site_links(names: tuple[str, ...]) -> str:
    """Return links to the sites' cards, levels gathered by group."""
    groups = []
    for group in GROUP_ORDER:
        links = [
            f'<a href="#{site.name}">{LEVEL_WORDS[site.level]}</a>'
            for site in SITES
            if site.group == group and site.name in names
        ]
        if links:
            groups.append(f"<span>{capitalised(GROUP_WORDS[group])} {' '.join(links)}</span>")
    return f'<span class="links">{"".join(groups)}</span>' if groups else ""
