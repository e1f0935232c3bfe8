"""Many asks at once: batches, and what waits in the queue."""
