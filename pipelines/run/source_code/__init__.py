"""The house's own sources: what names in them mean, what code says, and digests of that.

    files ─ definitions ─▶ what each name means ─ code_text ─▶ statements, names of the house aside
          ─ code_digests ─▶ a digest of a definition and of all it reaches, wherever it lies

:mod:`pipelines.run.rule_versions` holds the versions of rules against these digests.

>>> from pathlib import Path
>>> import artifacts
>>> from pipelines.run.source_code.code_digests import CodeDigests
>>> from pipelines.run.source_code.definitions import Definition, House
>>> house = House(Path(artifacts.__file__).resolve().parent.parent, ("artifacts", "dedup"))
>>> house.meaning("dedup.near.lsh", "np")
Foreign(name='numpy')
>>> len(CodeDigests(house).digest([Definition("dedup.near.lsh", "candidate_groups")]))
20
"""
