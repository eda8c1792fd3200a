"""One file per command group, and what it looks like on a terminal. `cli.py` and its four siblings,
`console.py`, five `terminal_*.py` and `doctor.py` are one room.
"""
