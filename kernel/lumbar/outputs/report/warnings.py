"""What stands first on a study's page: fallbacks, and the faults of files."""

from collections import Counter
from dataclasses import dataclass

from lumbar.grading.graded_study import PRIOR, ZERO_CROPS
from lumbar.outputs.report.result import Result

FAULTS_SHOWN = 40  # run.json holds them all
MESSAGE_SHOWN = 600  # characters
GIVEN = {
    PRIOR: "Its sites are not graded. The prior is submitted for them. It is the same for every study.",
    ZERO_CROPS: "Its sites are graded from empty crops and from the other sites.",
}
FOLDED = 3  # more cases of a reason are folded away


@dataclass(frozen=True)
class FaultGroup:
    """All faults of one reason; ``messages`` are the first ones, each cut."""

    reason: str
    number: int
    messages: tuple[str, ...]

    @property
    def open(self) -> bool:
        return self.number <= FOLDED


def fallbacks(result: Result) -> list[tuple[str, str]]:
    """Return each departure from a full grading, as a heading and its sentence."""
    if result.probabilities is None:
        return [("Not graded.", "The prior is submitted instead. It is the same for every study.")]
    said = [(f"No {description}.", GIVEN[given]) for description, given in result.fallbacks.items()]
    if result.members_run < result.planned:
        graded = f"{result.members_run} of {result.planned} graded the study"
        words = f"{graded}: time ran short, or some failed or are left out."
        said.append(("Fewer members.", words))
    return said


def flag_groups(result: Result) -> list[tuple[str, list[str], list[str]]]:
    """Return each reason of the flags with its messages, a detector each, and the names of all its sites."""
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for flag in result.flags:
        messages, sites = groups.setdefault(flag.reason, ([], []))
        messages.append(flag.message)
        sites += [site for site in flag.sites if site not in sites]
    return [(reason, *group) for reason, group in groups.items()]


def doubts_by_reason(result: Result) -> dict[str, list[str]]:
    """Return the names of the doubtful sites by reason."""
    sites: dict[str, list[str]] = {}
    for site, reasons in result.doubts.items():
        for reason in reasons:
            sites.setdefault(reason, []).append(site)
    return sites


def fault_groups(result: Result) -> list[FaultGroup]:
    """Return the faults by reason, in the order of each reason's first fault."""
    groups = []
    for reason, number in Counter(fault.reason for fault in result.faults).items():
        messages = [fault.message[:MESSAGE_SHOWN] for fault in result.faults if fault.reason == reason]
        groups.append(FaultGroup(reason, number, tuple(messages[:FAULTS_SHOWN])))
    return groups
