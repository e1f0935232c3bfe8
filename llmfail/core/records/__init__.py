"""What is stored, as text: versioned records, counters and names."""
