"""A program's trace goes on through the gateway."""

from contextlib import closing

from running_gateway import run_gateway
from trace_collector import Collector, attributes

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_request_with_a_traceparent_is_a_part_of_that_trace(tmp_path, simulator, monkeypatch):
    with closing(Collector()) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with run_gateway(tmp_path, simulator, more="traces: otlp") as gateway:
            body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
            reply = gateway.post("/v1/chat/completions", body, traceparent=f"00-{TRACE}-{PARENT}-01")
            assert reply.status == 200
        [root] = collector.find("llmfail.ask chat")
        assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, PARENT)
        [call] = collector.find("chat gpt-6.1-terra")
        assert call.parent_span_id == root.span_id
        assert attributes(call)["gen_ai.usage.input_tokens"] > 0
