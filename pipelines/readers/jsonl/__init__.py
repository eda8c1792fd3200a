"""JSON Lines and JSON arrays: lines into columns, from the bytes where nothing is unusual."""
