"""Linear recursions of the moments of the error, and fast ways to run them."""
