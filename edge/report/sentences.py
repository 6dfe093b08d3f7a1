"""Sentences of lower rooms, in English, that a page or a report says in its language."""

from edge.language.languages import N_

SENTENCES = (
    # How a scan ended, and what became of a sample.
    N_("the target of %(n)s red cells was reached"),
    N_("%(n)s fields were read"),
    N_("%(n)s minutes were over"),
    N_("it was stopped before its target"),
    N_("a signed result was reopened: %(why)s"),
    # What somebody else was quicker with.
    N_(
        "sample %(code)s is being scanned: %(who)s began it. Stop it first: one sample is read at a time. Nothing was"
        " changed"
    ),
    N_("no sample is being scanned. Nothing was changed"),
    N_("your page was of another sample; sample %(code)s is being scanned now. Nothing was changed"),
    N_("sample %(code)s is %(how)s; sample %(other)s is being scanned now. Nothing was changed"),
    N_(
        "sample %(code)s was changed since your page was made: it is %(how)s. Nothing was changed: look at it again, "
        "then decide"
    ),
    N_("sample %(code)s is %(how)s. Nothing was changed"),
    N_("%(state)s, by %(who)s (%(why)s)"),
    N_("%(state)s, by %(who)s"),
    N_("you"),
    N_("review"),
    N_("say why the sample is discarded"),
    N_("the form is of another login. Load the page again; nothing was changed"),
    N_("the form has no number of a cell. Load the page again; nothing was changed"),
    N_("%(name)s may not do this: it needs the role %(role)s. Help says what each role may do"),
    N_("operator"),
    N_("reviewer"),
    N_("integrator"),
    N_("too many people look at the live page: close one of them"),
    N_("Not Found"),
    N_("no picture of this cell is kept"),
    N_("no picture of this field is kept"),
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
    N_(
        "sample code %(code)s is one of a control slide: no control slide %(name)s is in use; there is none; begin with"
        " sicklescope control add"
    ),
    N_("sample code %(code)s is one of a control slide: no control slide %(name)s is in use; there is %(names)s"),
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
    # The clock.
    N_("the browser told no time. Allow scripts for this page, or set the clock: sudo timedatectl set-time"),
    N_("the clock is synchronised already, and is left as it is"),
    N_("sample %(code)s is being scanned. Stop it first; then set the clock"),
    N_("that time cannot be. Set the clock of the browser's computer or phone first"),
    N_(
        "this service may not set the clock. Who installed the device can allow it (systemd/browser-clock.conf), or set"
        " the clock with: sudo timedatectl set-time"
    ),
    N_("sign in first, for it is noted who sets the clock: see `sicklescope user add`"),
    # The optics and the models.
    N_("the step before is still under way. Wait for it, then load the page again"),
    N_(
        "%(who)s is measuring the optics. Let %(other)s finish, or press Begin again to take over: pictures taken so "
        "far are dropped"
    ),
    N_("nothing was measured yet. Measure the ruler first"),
    N_("nothing was measured yet. Take the pictures first"),
    N_("%(n)s pictures are enough. Measure, or begin again"),
    N_("%(n)s pictures are needed; %(taken)s were taken"),
    N_("the camera's pictures have another size than before. Begin again"),
    N_(
        "the camera gave no new picture within %(n)s s. Check its cable. Files and rendered slides give pictures to "
        "samples only: use sicklescope-calibrate for them"
    ),
    N_("the device is out of order: %(why)s"),
    N_("sample %(code)s is being scanned. Stop it first; then measure"),
    N_("the camera is lost: %(why)s. Check its cable; pictures taken so far are kept"),
    N_(
        "red cells would be %(um)s µm wide, and are 7 to 8 µm: every field would be refused. Is the distance of the "
        "lines right, and the objective the same? Measure again"
    ),
    N_(
        "the light differs by %(before)s over the field, and by %(after)s with the correction: it would not help. The"
        " light is even enough, or changed between the pictures"
    ),
    N_("the distance of the lines is not one of 0.1 to %(most)s µm. Type it as 10"),
    N_("the objective needs a name of 1 to 64 characters, such as 100x"),
    N_(
        "picture %(n)s is too dark: its background is at %(part)s of full scale; at least %(least)s is needed. Raise "
        "lamp or exposure"
    ),
    N_(
        "picture %(n)s is saturated: %(part)s of it is at full scale; at most %(most)s is allowed. Lower lamp or "
        "exposure"
    ),
    N_("there is no structure: contrast %(part)s across; expected %(least)s. %(remedy)s"),
    N_("%(n)s lines were found; expected at least %(least)s with even spacing. %(remedy)s"),
    N_("the lines are not evenly spaced: %(n)s of %(all)s are in place. %(remedy)s"),
    N_("the lines are not evenly spaced: they lie %(part)s of a spacing off; at most %(most)s is allowed. %(remedy)s"),
    N_("nothing repeats evenly in any direction (correlation %(found)s; a ruler has %(least)s or more). %(remedy)s"),
    N_("Bring %(n)s or more lines of the stage micrometer into view and into focus, and hold it still"),
    N_(
        "the pictures disagree: %(low)s to %(high)s µm per pixel; at most %(most)s apart is allowed. Give pictures of"
        " one magnification"
    ),
    N_("%(um)s µm per pixel cannot be read; expected 0.02 to 2. Is the distance of the lines right?"),
    N_(
        "none of %(n)s pictures shows at least %(least)s whole red cells. Put a thin, stained smear under the "
        "microscope, in focus"
    ),
    N_(
        "%(n)s pictures were given, and something lies on %(part)s of them; fields that are not empty are needed "
        "%(least)s times at least, the slide moved in between. Or give empty fields"
    ),
    N_(
        "something stays in place on %(part)s of all %(n)s pictures, at most %(most)s is allowed. Move the slide by "
        "whole fields between pictures, choose a thinner part, or give empty fields"
    ),
    N_(
        "the light falls to %(part)s of its mean; at least %(least)s is needed. Centre the condenser, open its "
        "diaphragm, and look for something in the way"
    ),
    N_(
        "%(path)s is of %(there)s; now it is %(fresh)s. Give another --output, or set optics.calibration to another "
        "file: a calibration is of one objective on one camera at one size"
    ),
    N_("the bundles were changed since your page was made. Nothing was changed: look again"),
    N_("there is no %(role)s to go back to: the shipped one is in use"),
    # The person and the device.
    N_("name or password is wrong"),
    N_("too many wrong passwords: try again in %(n)s s"),
    N_("too many people sign in at this moment: try again"),
    N_("the service is stopping"),
    N_("the device has not answered for %(n)s s: its camera or disk may hang. Ask for its state"),
)
"""Each with the places of what differs."""
