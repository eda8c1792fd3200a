"""One chunk in one task: read, measure, rewrite, choose."""
