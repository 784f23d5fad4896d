"""What the paper shows, and how the page of its experiments is written; scripts/reproduce.py puts it together."""
