"""A run's results as pages to look at: one a study and an index, static, from disk, without a net.

    result -> films, crops, cards, members -> study_page -> folder <- index_page
    what the   pictures and numbers of it     one page       files    all studies
    run knows

The markup stands in ``templates`` and is filled by ``document``; ``style.css``, ``study.js`` and ``index.js`` are
written into every page that needs them.
"""

from lumbar.outputs.report.folder import Report

__all__ = ["Report"]
