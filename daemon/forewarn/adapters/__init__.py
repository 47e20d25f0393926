"""One technology a file: the only modules that import it. None imports another."""
