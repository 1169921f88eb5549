"""Synthetic lumbar MR studies with a known truth, written in the competition's layout.

    grades -> anatomy -> profiles -> (protocol) -> scan -> files
    25 grades  one patient  tables     planes of     pixels   DICOM,
    and their  in bent      along the  every series           CSV,
    narrowing  coordinates  spine                             truth.json

Start reading at ``study.draw_study``. No real pixel went into any of this, only published statistics of labels.
"""

from phantom.dataset import PhantomError, write_phantoms
from phantom.files import TRANSFER_SYNTAXES
from phantom.grades import draw_grades, posterior, weighted_answer
from phantom.study import APPEARANCES, WIDE_PARTS, PhantomStudy, draw_study, study_truth, write_study

__all__ = [
    "APPEARANCES",
    "TRANSFER_SYNTAXES",
    "WIDE_PARTS",
    "PhantomError",
    "PhantomStudy",
    "draw_grades",
    "draw_study",
    "posterior",
    "study_truth",
    "weighted_answer",
    "write_phantoms",
    "write_study",
]
