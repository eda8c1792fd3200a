"""Rows: from a parsed record to columns of documents, or to the reason why it is none."""
