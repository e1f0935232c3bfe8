"""One module per command of the command line, named as the command is."""
