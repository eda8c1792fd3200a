"""Numbers of a model, without torch."""
