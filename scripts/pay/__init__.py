"""What `scripts/does_it_pay.py` measures, and how it writes it up."""
