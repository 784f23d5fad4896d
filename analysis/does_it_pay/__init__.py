"""The program `python -m analysis.does_it_pay`: its benches, and the page that it writes from their results."""
