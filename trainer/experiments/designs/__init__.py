"""Designs: one kind of experiment each, from settings to runs, and from outcomes to findings."""
