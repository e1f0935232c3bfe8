"""Whatever is remembered of a conversation, its hash is that of all that was said in it."""

import subprocess
import sys
from hashlib import sha256

import msgspec
import pytest

from llmfail.core.cache import conversation_hash
from llmfail.core.cache.conversation_hash import hash_conversation
from llmfail.core.conversation import Attachment, Message, Opaque, Text, Thought, ToolResult

LONG = "A long text. " * 500
SPOKEN = (Message("user", LONG), Message("assistant", "§ said"), Message("user", "more"))
WITH_PARTS = (
    Message("user", (Text(LONG, {"anthropic": {"cache_control": {"type": "ephemeral"}}}),)),
    Message("assistant", (Thought("hm"), Opaque("chat", {"a": [1, None]}))),
    Message("user", (ToolResult("a", (Text("found"), Attachment("cat.png", "image/png", b"cat"))),)),
    Message("user", "go on", {"chat": {"name": "ann"}}),
)


def spell(message):
    """As version 1 of fingerprints spells it."""
    if isinstance(message.content, str) and message.marks is None:
        return [message.role, message.content, []]
    parts = []
    for part in msgspec.to_builtins(message.parts):
        if part["type"] == "tool_result":
            inner = part["content"]
            file = {key: value for key, value in inner[1].items() if key != "data"}
            parts.append([{**part, "content": ""}, [inner[0], [file, sha256(b"cat").hexdigest()]]])
        else:
            parts.append(part)
    return [message.role, parts, message.marks]


def hash_anew(head, messages):
    return sha256(head + b",".join(msgspec.json.encode(spell(one)) for one in messages)).hexdigest()


@pytest.mark.parametrize("most", [1, 1_000], ids=["hardly any remembered", "all remembered"])
@pytest.mark.parametrize("messages", [SPOKEN, WITH_PARTS], ids=["texts", "parts"])
def test_a_later_turn_an_earlier_one_and_another_ending_are_hashed_as_if_nothing_was_known(
    messages, most, monkeypatch
):
    monkeypatch.setattr(conversation_hash, "MAX_REMEMBERED_HASHES", most)
    monkeypatch.setattr(conversation_hash, "_remembered", {})
    endings = [messages[:1], messages, (*messages, Message("user", "and?")), (*messages[:2], messages[0])]
    for head in (b"[1,", b"[2,"):
        for said in (*endings, *endings[::-1]):
            assert hash_conversation(head, said).hexdigest() == hash_anew(head, said)


def test_what_is_added_to_a_hash_is_not_remembered():
    first = hash_conversation(b"[", SPOKEN)
    first.update(b"]")
    assert hash_conversation(b"[", SPOKEN).hexdigest() == hash_anew(b"[", SPOKEN)


def test_turns_of_the_same_text_in_other_roles_are_told_apart():
    told = [
        hash_conversation(b"[", (Message(role, LONG), Message("user", "more"))).hexdigest()
        for role in ("user", "assistant", "user")
    ]
    assert told[0] != told[1]
    assert told[0] == told[2]


def test_a_turn_hashes_no_more_than_what_is_new_though_the_last_messages_are_written_anew(monkeypatch):
    monkeypatch.setattr(conversation_hash, "_remembered", {})
    hashed = []
    encode = conversation_hash.encode_identity
    monkeypatch.setattr(
        conversation_hash, "encode_identity", lambda value: hashed.append(value[1]) or encode(value)
    )
    said = [Message("user", f"{number}: {LONG}") for number in range(8)]
    hash_conversation(b"[", said)
    del hashed[:]
    later = [*said[:5], *(Message("user", f"{number}: other") for number in range(4))]
    assert hash_conversation(b"[", later).hexdigest() == hash_anew(b"[", later)
    assert hashed == [one.content for one in later[5:]]


def test_no_more_is_remembered_than_allowed(monkeypatch):
    monkeypatch.setattr(conversation_hash, "MAX_REMEMBERED_HASHES", 3)
    monkeypatch.setattr(conversation_hash, "_remembered", {})
    for number in range(20):
        hash_conversation(b"[", (Message("user", f"{number}: {LONG}"),))
    assert 1 <= len(conversation_hash._remembered) <= 3


def test_nothing_is_remembered_where_everybody_knows_the_key_of_hashes():
    """Else whoever finds a conversation of the same name would get the stored answer to another."""
    script = (
        "from llmfail.core.cache import conversation_hash as tested\n"
        "from llmfail.core.conversation import Message\n"
        "tested.hash_conversation(b'[', (Message('user', 'A long text. ' * 500),))\n"
        "print(len(tested._remembered))"
    )

    def count_remembered(seed):
        environ = {"PYTHONHASHSEED": seed}
        return subprocess.check_output([sys.executable, "-c", script], env=environ, text=True)

    assert (count_remembered("random"), count_remembered("0")) == ("1\n", "0\n")
