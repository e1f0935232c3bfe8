"""The SQLite files of a state directory."""
