"""Web pages: from the body of an HTTP response to a text and a title.

    response ─ http_message ─▶ body without codings ─ kind ─▶ a page, or none
    page ─ charsets ─▶ markup ─ shape (tags, tree_rules, open_elements) ─▶ within the limits?
    markup ─ markup, extraction ─▶ text and title ─ fields ─▶ columns

>>> from pipelines.readers.pages.extraction import page_text
>>> page = "<title>Weather</title><nav>Home</nav><p>It rained — all day.</p>".encode()
>>> page_text(page, "iso-8859-1")
Page(text='It rained — all day.', title='Weather', extraction=None)
"""
