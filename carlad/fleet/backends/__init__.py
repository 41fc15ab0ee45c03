"""Where servers come from: one module a kind, behind the interface in interface.py.

What a server is started with (argv, environment) is pure; what is checked is checked once, before anything
is started. A slot does not know of which kind its server is.
"""
