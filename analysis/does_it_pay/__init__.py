"""What `python -m analysis.does_it_pay` measures, and how it writes it up."""
