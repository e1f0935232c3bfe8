"""JSON made of the names that the decoders look for, in every wrong place."""

from hypothesis import strategies as st

NAMES = """choices message content text type finish_reason usage refusal model stop_reason stop_details
candidates parts delta modelVersion stop_sequence content_block finishReason promptFeedback
blockReason usageMetadata promptTokenCount data embedding values predictions embeddings
statistics token_count prompt_tokens cost completion_tokens_details index"""
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just("text"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES.split()), inner, min_size=1, max_size=6)
    ),
    max_leaves=25,
)
