"""The public decorators and functions: they make IR of directives and Python, compile it, and call the code."""
