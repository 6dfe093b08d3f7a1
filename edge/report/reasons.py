"""Each reason why a field was rejected or a file left out, in words for a person."""

from edge.camera.input_files import Leftover

REASONS = {
    "unreadable": "the file is no image that can be read",
    "too_small": "fewer pixels than a field needs",
    "too_large": "more megapixels than the limit",
    "under_exposed": "too dark",
    "over_exposed": "too bright",
    "out_of_focus": "out of focus",
    "motion": "moved while it was taken",
    "scale_unknown": "the size of a pixel could not be estimated from the cells",
    "empty": "too few cells",
    "crowded": "cells too close together",
    "stacked": "cells lie on each other: rouleaux, clumps, or too thick a part of the smear",
    "magnification": "its red cells are too large or too small for the size of a pixel that is set: another objective?",
    "unfamiliar": "its cells are unlike those that the model was trained on (stain, specimen or magnification)",
    "not_placed": "it could not be told where on the slide it lies, so its cells might have been counted twice",
}
"""Each reason of rejection in words."""

LEFT_OUT = {
    Leftover.HIDDEN: "hidden, or in a hidden folder",
    Leftover.SYSTEM_FOLDER: "in a folder of deleted pictures, previews or system files, or a preview by its name",
    Leftover.PARTIAL_DOWNLOAD: "a download or copy that has not ended: fetch it again",
    Leftover.ARCHIVE: "an archive: unpack it and give the pictures",
    Leftover.UNSUPPORTED_PICTURE: "a picture or video of a kind that is not read: save it as JPEG, PNG or TIFF",
    Leftover.NO_PICTURE: "no picture or video by its name",
    Leftover.LINK: "a link to a file that is read under another name, or to a folder: give the folder itself",
    Leftover.NOT_ACCESSIBLE: "cannot be opened: a broken link, or access is denied",
    Leftover.DRAWN_BY_A_SCAN: "drawn by an earlier scan",
    Leftover.LIVE_PHOTO: "the short film that a phone keeps beside a picture, which is read",
    Leftover.DUPLICATE: "a copy of a picture that is read (--keep-duplicates reads both)",
}
"""Each reason for which a file is left out in words."""
