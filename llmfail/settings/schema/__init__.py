"""The values of a configuration, and the shape that a file must have."""
