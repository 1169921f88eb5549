"""What the kernel saw, as pages to look at: one a study and an index, static, from disk, without a net.

    result -> films, strips, grid, members -> study_page -> folder <- index_page
    what the   pictures and tables of it      one page       files    all studies
    run knows

``style.css``, ``study.js`` and ``index.js`` are written into every page that needs them.
"""

from lumbar.outputs.report.folder import Report

__all__ = ["Report"]
