"""What the command line says, read into values."""
