"""What lies in a run folder and how to read it: a chunk, its texts, who is kept, columns over all
chunks, excerpts. Lowest room that knows a chunk. `selection.py` becomes the ONE place that says who
is kept (7 copies today) and drops rows with a ledger entry (4 copies today).
"""
