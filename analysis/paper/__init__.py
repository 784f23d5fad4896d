"""The paper's experiments: run by __main__.py, with the paper's figures, written up as a page."""
