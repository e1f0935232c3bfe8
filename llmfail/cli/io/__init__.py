"""Standard input, standard output and files."""
