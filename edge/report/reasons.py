"""Each reason why a field was rejected or a file left out, in words for a person."""

from edge.camera.input_files import Leftover
from edge.language.languages import N_

REASONS = {
    "unreadable": N_("the file is no image that can be read"),
    "too_small": N_("fewer pixels than a field needs"),
    "too_large": N_("more megapixels than the limit"),
    "under_exposed": N_("too dark"),
    "over_exposed": N_("too bright"),
    "out_of_focus": N_("out of focus"),
    "motion": N_("moved while it was taken"),
    "scale_unknown": N_("the size of a pixel could not be estimated from the cells"),
    "empty": N_("too few cells"),
    "crowded": N_("cells too close together"),
    "stacked": N_("cells lie on each other: rouleaux, clumps, or too thick a part of the smear"),
    "magnification": N_(
        "its red cells are too large or too small for the size of a pixel that is set: another objective?"
    ),
    "unfamiliar": N_("its cells are unlike those that the model was trained on (stain, specimen or magnification)"),
    "not_placed": N_("it could not be told where on the slide it lies, so its cells might have been counted twice"),
}
"""Each reason of rejection in words."""

LEFT_OUT = {
    Leftover.HIDDEN: N_("hidden, or in a hidden folder"),
    Leftover.SYSTEM_FOLDER: N_("in a folder of deleted pictures, previews or system files, or a preview by its name"),
    Leftover.PARTIAL_DOWNLOAD: N_("a download or copy that has not ended: fetch it again"),
    Leftover.ARCHIVE: N_("an archive: unpack it and give the pictures"),
    Leftover.UNSUPPORTED_PICTURE: N_("a picture or video of a kind that is not read: save it as JPEG, PNG or TIFF"),
    Leftover.NO_PICTURE: N_("no picture or video by its name"),
    Leftover.LINK: N_("a link to a file that is read under another name, or to a folder: give the folder itself"),
    Leftover.NOT_ACCESSIBLE: N_("cannot be opened: a broken link, or access is denied"),
    Leftover.DRAWN_BY_A_SCAN: N_("drawn by an earlier scan"),
    Leftover.LIVE_PHOTO: N_("the short film that a phone keeps beside a picture, which is read"),
    Leftover.DUPLICATE: N_("a copy of a picture that is read (--keep-duplicates reads both)"),
}
"""Each reason for which a file is left out in words."""
