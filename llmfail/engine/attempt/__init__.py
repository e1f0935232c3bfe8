"""One call to one target: admission, sending, reading the reply, settlement."""
