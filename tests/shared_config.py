"""A configuration whose state is where a test says: one target, an answer that costs something, a budget."""

CONFIG = """\
version: 1
store: {store}
store_timeout: {timeout}
timezone: UTC
defaults: {{retries: 0, timeout: 10s, max_tokens: 50}}
providers:
  openai: {{api: openai, base_url: "{openai}", api_key: made-up-key-2}}
models:
  openai/gpt-6.1-terra: {{price: {{input: 1000, output: 1000}}, context: 100000, max_output: 1000}}
features:
  default: {{primary: openai/gpt-6.1-terra, cache: {{enabled: false}}}}
budgets: [{{name: daily, limit: 1000, per: day}}]
"""


def write_shared_config(directory, simulator, store, timeout="0.3s", more=""):
    """``more`` are further lines of it."""
    file = directory / "llmfail.yaml"
    text = CONFIG.format(openai=simulator.base_url("openai"), store=store, timeout=timeout)
    file.write_text(text + more)
    return file
