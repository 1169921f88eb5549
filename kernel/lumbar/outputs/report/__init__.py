"""A run's results as pages to look at: one a study and an index, static, from disk, without a net.

    result -> films, crops, cards, members -> study_page -> folder <- index_page
    what the   pictures and numbers of it     one page       files    all studies
    run knows  slice_strips, slice_views                     downloads
               slices to scroll                              tables and findings beside the page

The markup stands in ``templates`` and is filled by ``document``. ``style.css`` and the scripts that a page needs are
written into it: ``index.js``, or ``study.js`` with ``slice_geometry.js``, ``slice_view.js``, ``slice_pointer.js`` and
``slice_control.js``.
"""

from lumbar.outputs.report.folder import Report

__all__ = ["Report"]
