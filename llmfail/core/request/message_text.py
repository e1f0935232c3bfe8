"""The text of a message as it is sent: its text files before it, each in a ``<file>`` element."""

from __future__ import annotations

from llmfail.core.errors import UsageError
from llmfail.core.model import Attachment, Message


def render_message(message: Message) -> str:
    """Raises UsageError for a file that is no text."""
    files = (
        render_file_element(file.name, _decode_text(file))
        for file in message.attachments
        if not file.is_image
    )
    return "\n\n".join([*files, *([message.text] if message.text else [])])


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
