"""The price catalogue: what providers list for their models, read when a provider is asked for.

The data is generated from the package genai-prices (MIT) and litellm's table of models (MIT), neither of
which is needed to read it; ``refresh`` makes a newer one.
"""

from llmfail.prices.catalogue_file import REFRESHED_DIRECTORY, Catalogue, CatalogueMatch

__all__ = ["REFRESHED_DIRECTORY", "Catalogue", "CatalogueMatch"]
