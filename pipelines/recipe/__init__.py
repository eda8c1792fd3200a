"""What the user wrote, checked, with file and line. `recipe.py` held fields, loading, error wording
and JSON Schema in 385 lines; each is a file of its own. Names are checked on the recipe and placed
by the loader, which opens the circle recipe <-> recipe_names.
"""
