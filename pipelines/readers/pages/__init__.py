"""Web pages: from the body of an HTTP response to a text and a title."""
