"""One module a parser: sound examples, a grammar, and what must hold.

Each has `examples()`, a list of cases; `grammar()`, a hypothesis strategy of
cases; `check(folder)`, which gives the parser the files of a case and checks
what comes of it against the files as they are counted here; and `PLACES`, what
the words of a refusal must name.
"""
