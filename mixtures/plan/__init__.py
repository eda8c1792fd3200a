"""The frozen plan as a file. `Plan.load` leaves for `order/sound_plan.py: load_plan`, which opens
the circle.
"""
