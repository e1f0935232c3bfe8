"""How the parts of a conversation are written as JSON, and read again: a module for each dialect."""
