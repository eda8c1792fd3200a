"""Pure integer mathematics."""
