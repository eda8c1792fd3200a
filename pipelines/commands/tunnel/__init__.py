"""Commands of the wind tunnel, on small models for what a large one will do: windtunnel tunnel.

    losses by seed, or a deviation ─ power ─▶ seeds that an effect needs

    app         the group; one line for each command
    power       seeds needed, half-widths and power by number of seeds
    loss_table  the spread between seeds from a CSV of losses

What ``windtunnel tunnel power --sd 0.015 --effect 0.02`` prints, in Python:

>>> from artifacts.statistics.power import seeds_needed
>>> seeds_needed(0.02, 0.015, paired=False), seeds_needed(0.02, 0.015, paired=True)
(13, 9)
"""
