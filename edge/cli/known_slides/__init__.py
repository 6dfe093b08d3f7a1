"""Commands on slides of which it is known what they show: control slides, blank slides, slides counted by hand."""
