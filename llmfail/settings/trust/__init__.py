"""Which files of the current directory were accepted, and what needs to be."""
