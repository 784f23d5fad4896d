"""What the paper shows, and how the page of its experiments is written; __main__.py puts it together."""
