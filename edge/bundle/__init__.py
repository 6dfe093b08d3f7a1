"""A signed pair of models in one file, and the message that offers it; runs nothing and installs nothing."""
