"""The text of what is stored: versioned records, counters and names."""
