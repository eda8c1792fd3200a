"""A training, stoppable at any step; branches."""
