"""How many tokens a text may be."""
