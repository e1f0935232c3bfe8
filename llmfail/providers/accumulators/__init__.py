"""The events of a streamed answer, one wire each: what each event says, and all of them together."""
