"""Output on the terminal: messages, progress, the width of a line."""
