"""The decoder and how its tensors start."""
