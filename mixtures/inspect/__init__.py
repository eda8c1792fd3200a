"""What a plan shows, and whether it holds."""
