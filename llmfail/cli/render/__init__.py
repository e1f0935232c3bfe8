"""Values -> tables, bars and lines for people."""
