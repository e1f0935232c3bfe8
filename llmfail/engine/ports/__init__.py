"""What the engine needs of the outside world, as protocols and their adapters."""
