"""Shards as streams of tokens, local or remote."""
