"""Every fault that an input can have: one stable reason each, and the error that carries it.

A reason is a slug: tests, ``run.json`` and the log use the same one. The message adds the details:
*where*: got *value*, expected *rule*; *what to do*.
"""

from typing import NamedTuple

# Reasons for one file (it is left out, the other slices of its series go on).
FILE_REASONS = {
    "not_a_file": "a folder, a pipe or a device where a file was expected",
    "broken_link": "a link that leads nowhere, or a pointer to content that was not fetched",
    "no_permission": "the operating system refuses to open it",
    "unreadable": "the operating system fails to read it",
    "empty_file": "0 bytes",
    "bad_archive": "an archive that is not unpacked: damaged, with a password, too large or of another kind than .zip",
    "not_dicom": "no DICM mark at byte 128: text, random bytes, another format",
    "malformed": "a DICOM file with a structure that can not be followed",
    "truncated": "the file, or its pixel data, ends before its declared length",
    "not_an_image": "a structured report, presentation state or other object without pixels",
    "bad_header": "Rows, Columns, BitsAllocated or another number that decoding needs is absent or impossible",
    "colour": "more than one sample a pixel, or a palette",
    "too_large": "more samples than the declared bounds, refused before decoding",
    "no_decoder": "no installed decoder knows the transfer syntax",
    "undecodable": "the decoders know the transfer syntax but fail on these bytes",
    "localizer": "ImageType says LOCALIZER",
    "other_orientation": "its plane (sagittal, coronal, axial) is not that of most slices of the series",
}
# Reasons for a series or a study: nothing of it is read.
SERIES_REASONS = {
    "folder_missing": "the series has no folder",
    "empty_folder": "the series' folder holds no file",
    "no_usable_slice": "every file of the series has a fault, and not all the same one",
    "no_series": "the sample submission names the study, the table of series does not",
    "unknown_description": "the series' description is none of the three",
}
# Reasons for a study that its reader did not get from where it lies; another run may get it.
SOURCE_REASONS = {
    "not_fetched": "the source did not give the study's files, at several tries",
    "study_gone": "the source no longer has the study",
    "other_studies": "one study was expected at a place, and several or none lie there",
    "no_room": "the temporary folder has no room for the study's files",
}
# Reasons for a series that a folder without tables holds and that is left out by its headers.
HEADER_REASONS = {
    "localizer": "ImageType, the text or slices of several planes are those of a localizer",
    "derived": "a computed picture: a projection, a map, a screenshot",
    "duplicate": "a copy of a slice that the series has already",
    "not_an_image": "an object without pixels",
    "other_modality": "Modality is not MR",
    "other_body_part": "the text or BodyPartExamined names another part of the body",
    "other_plane": "a coronal series",
    "other_sequence": "a weighting or technique that is none of the three",
    "unknown_plane": "the plane follows neither from geometry nor from text",
    "unknown_sequence": "the weighting follows neither from times nor from text",
    "other_picture": "fat, opposed phase, phase or a map: not the picture that is read of an acquisition",
    "other_station": "another part of the spine than the other series of the study show",
    "repeated": "another series shows the same place, in a better picture, more slices or later",
    "second_choice": "STIR, fat-suppressed or with contrast agent, and the study has a plain series",
}
# Of these, the series that could not be classified. The others are the usual company of a lumbar study.
UNKNOWN_SERIES = ("unknown_plane", "unknown_sequence")
# Reasons for oddities that cost no slice; ``file`` is the series' folder, or the study.
ODDITIES = {
    "malformed_tag": "an optional tag can not be read: treated as missing",
    "assumed_bits": "BitsStored or PixelRepresentation is absent or impossible: the usual value is taken",
    "long_pixel_data": "more pixel data than declared: the rest is ignored",
    "no_position": "not every slice of a volume has a position: ordered by another tag",
    "same_position": "slices of a volume lie at one position: all are kept",
    "same_number": "files of a series share an instance number: ordered by another tag",
    "mixed_sizes": "slices of a series differ in size: resized to the first one's",
    "no_orientation": "slices without orientation: their points have no place in the patient",
    "turned": "rows or columns run against the usual direction: pictures are turned, points count in the own ones",
    "derived_used": "pictures that were made after the examination are graded, as there are no others",
    "region_doubtful": "a text names another part of the body, but the pictures fit: graded all the same",
    "shared_uid": "one StudyInstanceUID covers several patients or dates: taken for as many studies",
    "no_spacing": "slices without the size of a pixel: their points have no place in the patient",
}


class Fault(NamedTuple):
    """One thing that was left out or is odd, and why: ``file`` is its path as text (or a series' id)."""

    file: str
    reason: str
    message: str


class DataNotFoundError(Exception):
    """The files to read are not at the place that was searched, or have another content than expected."""


class MissingPackageError(DataNotFoundError):
    """A command needs an optional package that is not installed. The message has the line that installs it."""


class BundleError(Exception):
    """A bundle that can't be used. The message names the place, the value, the expected one and the remedy."""


class MemberError(BundleError):
    """One member that can't be built or read here, in a bundle with others that may still grade."""


class DeviceError(Exception):
    """The requested device does not work."""


class DicomError(Exception):
    """A file, series or study can not be read: ``reason`` is a slug of the tables above, ``faults`` has the parts'."""

    def __init__(self, reason: str, message: str, faults: tuple[Fault, ...] = ()):
        super().__init__(message)
        self.reason = reason
        self.faults = faults

    def __reduce__(self):  # an error that crosses from a reader's process keeps its reason
        return DicomError, (self.reason, str(self), self.faults)
