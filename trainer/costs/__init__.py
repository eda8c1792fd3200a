"""What a model and a step cost."""
