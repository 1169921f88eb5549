"""Lumbar spine degenerative classification: from MR studies to graded sites.

The rooms, in the order the data meets them: sites, studies, dicom, volume, detector, heatmap, crops,
classifier, bundle, ensemble, pipeline, submission, report; phantom makes studies with a known truth.
"""
