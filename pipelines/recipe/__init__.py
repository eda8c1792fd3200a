"""The recipe: what the user wrote, checked, and every mistake with file and line.

    recipe.yaml + overrides ─ yaml_lines ─▶ values with places ─ fields ─▶ parts
    parts ─ names ─▶ stages under their names ─ load ─▶ LoadedRecipe
    anything wrong ─ mistakes ─▶ UserError: file, line, field, found, allowed, fix

The names you need: :func:`~pipelines.recipe.load.load_recipe`,
:func:`~pipelines.recipe.load.given_recipe` (from values in place of a file),
:func:`~pipelines.recipe.load.recipe_schema`, and the fields in :mod:`pipelines.recipe.fields`.

>>> from pipelines.recipe.load import given_recipe, load_recipe, recipe_schema
>>> loaded = load_recipe("recipe.yaml", ["corpus.stages.1.language.keep=[en, fr]"])
>>> [name for name, settings in loaded.stages][:3]
['newlines', 'language', 'heuristics']
>>> dict(loaded.stages)["language"].keep
('en', 'fr')
>>> load_recipe("recipe.yaml", ["corpus.stages.0=newline"])
Traceback (most recent call last):
    ...
artifacts.errors.UserError: ...newlines...
>>> source = {"name": "web", "paths": ["data/web.jsonl"]}
>>> given_recipe({"name": "small", "corpus": {"sources": [source]}}).recipe.seed
1
>>> recipe_schema()["title"]
'Recipe'

What a stage, a mixture or a training takes is declared where it is carried out
(:mod:`pipelines.stages`, :mod:`pipelines.shards.settings`, :mod:`mixtures.spec`,
:mod:`trainer.loop.settings`); a recipe puts these parts together.
"""
