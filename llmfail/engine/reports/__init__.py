"""What was asked, spent and estimated, read back for people."""
