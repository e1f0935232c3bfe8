"""The command line. No rules here."""
