"""Files to studies: listing what there is, reading DICOM, volumes on the two grids; needs no torch."""
