"""Documents written out again for people and other tools; the mirror of `readers/`."""
