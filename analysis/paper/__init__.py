"""The program `python -m analysis.paper`: the paper's experiments, and the page that compares them with the paper."""
