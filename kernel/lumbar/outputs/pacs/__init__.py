"""A graded study as DICOM objects for an archive and its viewer.

films -> drawing -> secondary_capture    the key slices with their marks
                 -> encapsulated_pdf     the summary on one page
files -> source_images -> derived        patient and study of the new objects, as in the files read
"""
