"""How similar the answers of an evaluation are to the references and to the primary's answers, by vectors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from llmfail.cli.arguments.global_options import GlobalOptions
from llmfail.cli.run.open_client import open_client
from llmfail.core.errors import AskError, UsageError
from llmfail.core.evaluation.eval_report import EvalLine
from llmfail.core.evaluation.similarity import Vector, cosine_similarity


def add_similarities(
    options: GlobalOptions, feature: str | None, lines: Sequence[EvalLine], primary: str
) -> list[EvalLine]:
    """The lines with what their answers are like; as they are without a feature that embeds. Raises
    UsageError when nobody embeds them.
    """
    if feature is None:
        return list(lines)
    vectors = _embed(options, feature, {text for line in lines for text in _texts_of(line)})
    return [_compare(line, primary, vectors) for line in lines]


def _texts_of(line: EvalLine) -> Iterable[str]:
    texts = (*(answer.text for answer in line.answers.values()), line.reference)
    return (text for text in texts if text and text.strip())


def _embed(options: GlobalOptions, feature: str, texts: set[str]) -> dict[str, Vector]:
    """In one order, so that what was embedded before is found again."""
    ordered = sorted(texts)
    if not ordered:
        return {}
    with open_client(options) as client:
        try:
            receipt = client.embed(*ordered, feature=feature)
        except AskError as error:
            raise UsageError(f"the answers were not embedded by {feature}: {error}") from None
    assert receipt.embedding is not None, "an answer of embed has vectors"
    return dict(zip(ordered, receipt.embedding.vectors, strict=True))


def _compare(line: EvalLine, primary: str, vectors: Mapping[str, Vector]) -> EvalLine:
    known = {
        target: vectors[answer.text]
        for target, answer in line.answers.items()
        if answer.text and answer.text in vectors
    }
    reference, first = vectors.get(line.reference or ""), known.get(primary)
    return replace(
        line,
        to_reference={} if reference is None else _similarities(known, reference),
        to_primary={}
        if first is None
        else _similarities({target: one for target, one in known.items() if target != primary}, first),
    )


def _similarities(known: Mapping[str, Vector], to: Vector) -> dict[str, float]:
    return {target: cosine_similarity(one, to) for target, one in known.items()}
