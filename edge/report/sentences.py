"""Sentences of lower rooms, in English, that a page or a report says in its language."""

from edge.language.languages import N_

SENTENCES = (
    # How a scan ended, and what became of a sample.
    N_("the target of %(n)s red cells was reached"),
    N_("%(n)s fields were read"),
    N_("%(n)s minutes were over"),
    N_("it was stopped before its target"),
    N_("a signed result was reopened: %(why)s"),
    # What cannot be done with a sample.
    N_("no sample is being scanned"),
    N_("there is no such sample on this device. `sicklescope sample list` shows those kept"),
    N_("sample %(code)s is being scanned. Stop it first: one sample is read at a time"),
    N_("sample %(code)s is %(state)s and cannot be discarded; it was already"),
    N_("sample %(code)s is %(state)s and cannot be reopened; stop it first"),
    N_(
        "sample %(code)s is %(state)s and cannot be reviewed; stop it first, or reopen it: one that is final is signed "
        "and locked"
    ),
    N_(
        "sample %(code)s is %(state)s and cannot be signed; stop it first, or reopen it: one that is final is signed "
        "and locked"
    ),
    N_(
        "sample code %(code)s was used on %(day)s already. Give another, such as %(other)s, or reopen or discard the "
        "earlier sample"
    ),
    N_(
        "the sample code cannot be used: it %(fault)s. Expected 1 to %(most)s letters, digits, dots, dashes or "
        "underscores, beginning with a letter or digit. Use the clinic's own code, never a patient's name"
    ),
    N_("is empty"),
    N_("has %(n)s characters"),
    N_("has a space as character %(at)s of %(n)s"),
    N_("has a letter outside A to Z as character %(at)s of %(n)s"),
    N_("has another sign as character %(at)s of %(n)s"),
    N_(
        "the sample code is not of this clinic; screening.sample_pattern expects %(pattern)s. Use the clinic's own "
        "code, never a patient's name"
    ),
    # Review and signing.
    N_(
        "%(name)s is %(other)s reader of sample %(code)s and cannot be its %(own)s one. Each reading is another "
        "person's"
    ),
    N_("first"),
    N_("second"),
    N_("third"),
    N_("%(name)s is the second reader of sample %(code)s and cannot sign it; another person must"),
    N_(
        "sample %(code)s is incomplete (%(why)s; %(n)s red cells). To sign it all the same give a reason, or reopen it "
        "and scan on"
    ),
    N_(
        "the two readers of sample %(code)s differ on %(n)s cell that no third person settled. Settle them, or give a "
        "reason"
    ),
    N_(
        "the two readers of sample %(code)s differ on %(n)s cells that no third person settled. Settle them, or give a "
        "reason"
    ),
    N_("the two readers do not differ on cell %(n)s; a third person settles only cells on which they do"),
    N_("there is no answer on cell %(n)s to take back"),
    # The person and the device.
    N_("name or password is wrong"),
    N_("too many wrong passwords: try again in %(n)s s"),
    N_("the service is stopping"),
    N_("the device has not answered for %(n)s s: its camera or disk may hang. Ask for its state"),
)
"""Each with the places of what differs."""
