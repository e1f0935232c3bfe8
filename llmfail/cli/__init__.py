"""The command line: one small file per command in ``commands``. No rules here."""
