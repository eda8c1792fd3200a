"""Two checkouts, the same inputs: do they write the same bytes? The parts of ``same_bytes.py``.

    checkouts    a folder or a commit as a checkout, and its command line in a place both share
    inputs       what both read: copies of the recipes and the sample corpus, planted documents
    cases        what is run in each of them
    going_on     what the new one makes of folders that the old one wrote
    left_out     the one table of what differs by nature
    trees        two folders held against each other, file by file
    content_keys why a unit lies under another content key

They know the project by its command line and its formats alone, so that they compare checkouts in
which every module lies elsewhere::

    from byte_comparison.trees import compare_trees

    compared = compare_trees(Path("a/runs/tiny"), Path("b/runs/tiny"))
    print(compared.files, compared.bytes, compared.differences)
"""
