"""The parts of a message as they are sent: text files as text, each in a ``<file>`` element."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from llmfail.core.conversation import Attachment, Part, Text
from llmfail.core.errors import UsageError


def render_text_files(parts: Iterable[Part]) -> list[Part]:
    """The parts with every text file written out, as one text with what follows it. Empty texts are left
    out. Raises UsageError for a file that is no text.
    """
    rendered: list[Part] = []
    pending: list[str] = []
    for part in parts:
        if isinstance(part, Attachment) and part.kind == "text" and part.url is None:
            pending.append(render_file_element(part.name, _decode_text(part)))
        elif isinstance(part, Text) and pending:
            rendered.append(replace(part, text="\n\n".join(filter(None, (*pending, part.text)))))
            pending = []
        elif not isinstance(part, Text) or part.text:
            if pending:
                rendered.append(Text("\n\n".join(pending)))
                pending = []
            rendered.append(part)
    if pending:
        rendered.append(Text("\n\n".join(pending)))
    return rendered


def render_file_element(name: str, content: str) -> str:
    name = name.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    closing = "" if content.endswith("\n") else "\n"
    return f'<file name="{name}">\n{content}{closing}</file>'


def _decode_text(attachment: Attachment) -> str:
    try:
        return attachment.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"attachment {attachment.name}: byte {error.start} is not UTF-8 text; attach images or text files"
        ) from None
