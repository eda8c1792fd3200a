"""The house's own sources: what names mean, what code says, and digests of it."""
