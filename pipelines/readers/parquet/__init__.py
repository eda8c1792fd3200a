"""Parquet: footers, pages and values, none of which is believed unseen."""
