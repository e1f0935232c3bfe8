"""The steps that answer when no model does, as pure rules."""
