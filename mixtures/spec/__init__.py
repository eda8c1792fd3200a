"""What a recipe says of a mixture."""
