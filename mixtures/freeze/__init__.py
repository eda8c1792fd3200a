"""From shares to whole steps over pinned shards."""
