"""MinHash, LSH, verification, quality."""
