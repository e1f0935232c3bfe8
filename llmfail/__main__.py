"""``python -m llmfail``."""

from llmfail.cli.main import main

main()
