"""What a configuration says that is allowed and probably not meant, and its settings with their origin."""
