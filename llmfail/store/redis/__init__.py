"""The state that all hosts of a fleet share, on Redis or Valkey."""
