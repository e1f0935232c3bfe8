"""The simulator as a server: counts, faults at run time, many clients, hung clients, its own end."""

import contextlib
import http.client
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest
import simulator_calls

from llmfail.simulator import Simulator, parse_faults


def connect(simulator, provider="openai"):
    url = urlsplit(simulator.base_url(provider))
    return http.client.HTTPConnection(url.hostname, url.port, timeout=10)


def send(simulator, provider="openai"):
    """A question whose answer nobody has read yet."""
    connection = connect(simulator, provider)
    path, document = simulator_calls.build_request(provider)
    connection.request("POST", urlsplit(simulator.base_url(provider)).path + path, json.dumps(document))
    return connection


def test_base_urls_are_as_the_official_clients_have_them(simulator):
    for provider, path in {
        "anthropic": "/anthropic",
        "openai": "/openai/v1",
        "google": "/google",
        "vertex": "/vertex",
        "groq": "/groq/v1",
    }.items():
        url = urlsplit(simulator.base_url(provider))
        assert (url.hostname, url.path) == ("127.0.0.1", path)
        assert simulator.base_url(provider) == simulator.base_url(provider)


def test_a_provider_speaks_what_it_is_said_to_speak():
    with Simulator(apis={"mine": "gemini"}) as simulator:
        heard = simulator_calls.post(simulator.base_url("mine"), *simulator_calls.build_request("google"))
        assert heard.document["candidates"]
        assert simulator.requests[0].target == "mine/gemini-3.8-flash"


def test_its_own_port_serves_every_provider_by_the_first_segment(simulator):
    heard = simulator_calls.post(f"{simulator.url}/anthropic", *simulator_calls.build_request("anthropic"))
    assert heard.status == 200
    assert (
        simulator_calls.post(f"{simulator.url}/openai/v1", *simulator_calls.build_request("openai")).status
        == 200
    )
    assert [seen.provider for seen in simulator.requests] == ["anthropic", "openai"]


def test_every_request_is_recorded_in_the_order_of_arrival(simulator):
    simulator_calls.ask(simulator, "anthropic", "first")
    simulator_calls.ask(simulator, "groq", "second", model="openai/gpt-oss-20b")
    one, two = simulator.requests
    assert (one.number, one.provider, one.prompt) == (1, "anthropic", "first")
    assert (two.number, two.target, two.prompt) == (2, "groq/openai/gpt-oss-20b", "second")
    assert two.headers["content-type"] == "application/json"
    assert json.loads(two.body) == two.document
    assert simulator.count() == 2
    assert simulator.count("groq") == simulator.count("groq/openai/gpt-oss-20b") == 1


def test_a_recorded_request_does_not_show_what_it_carried(simulator):
    httpx.post(f"{simulator.base_url('openai')}/embeddings", headers={"authorization": "Bearer sk-secret"})
    assert simulator.requests[0].headers["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(simulator.requests)


def test_a_connection_is_kept_alive_and_counted_once(simulator):
    url = simulator.base_url("openai")
    path, document = simulator_calls.build_request("openai")
    with httpx.Client(base_url=url) as client:
        for _ in range(5):
            assert client.post(path, json=document).status_code == 200
    assert simulator.count("openai") == 5
    assert simulator.count_connections("openai") == simulator.count_connections() == 1


def test_a_body_that_arrives_in_pieces_is_read_whole(simulator):
    path, document = simulator_calls.build_request("openai", "long " * 200_000)
    assert simulator_calls.post(simulator.base_url("openai"), path, document).status == 200
    assert simulator.requests[0].prompt == document["messages"][0]["content"]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"hello\r\n\r\n",
        b"GET nowhere HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /openai HTTP/1.1\r\n\r\n",
        b"POST /openai HTTP/1.1\r\nhost: h\r\ncontent-length: minus\r\n\r\n",
        b"POST /openai HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /openai HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        b"x" * 70_000,
    ],
)
def test_what_is_not_http_is_refused_and_not_counted(simulator, nonsense):
    url = urlsplit(simulator.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as raw:
        raw.sendall(nonsense)
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
    assert simulator.count() == 0
    assert simulator_calls.ask(simulator, "openai").status == 200


def test_a_body_in_chunks_is_read_whole(simulator):
    url = f"{simulator.base_url('openai')}/embeddings"
    assert httpx.post(url, content=iter([b'{"input":', b'"a"}'])).status_code == 200
    assert simulator.requests[0].document == {"input": "a"}


def test_a_client_that_wants_the_connection_closed_gets_the_end_after_its_answer(simulator):
    head = b"GET /openai HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
    url = urlsplit(simulator.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as raw:
        raw.sendall(head)
        heard = b"".join(iter(lambda: raw.recv(65_536), b""))
    assert heard.startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_a_request_for_the_head_gets_no_body(simulator):
    reply = httpx.head(f"{simulator.base_url('openai')}/embeddings")
    assert reply.content == b""
    assert int(reply.headers["content-length"]) > 0


def test_two_requests_in_one_packet_get_two_answers(simulator):
    one = b"POST /openai/v1/embeddings HTTP/1.1\r\nhost: h\r\ncontent-length: 13\r\n\r\n" + b'{"input":"a"}'
    url = urlsplit(simulator.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as raw:
        raw.sendall(one + one)
        heard = b""
        while heard.count(b"HTTP/1.1 200 OK") < 2:
            received = raw.recv(65_536)
            assert received
            heard += received
    assert simulator.count() == 2


def test_faults_change_while_it_runs_also_on_an_open_connection(simulator):
    connection = connect(simulator)
    with contextlib.closing(connection):

        def status(faults):
            simulator.set_faults(parse_faults(faults))
            return simulator_calls.post(
                simulator.base_url("openai"), *simulator_calls.build_request("openai"), connection=connection
            ).status

        assert [status("none"), status("openai=503"), status("all=429:1"), status("none")] == [
            200,
            503,
            429,
            200,
        ]
    assert simulator.count_connections() == 1


def test_a_refusing_provider_refuses_and_lets_in_again_on_the_same_port(simulator):
    base_url = simulator.base_url("openai")
    for _ in range(3):
        simulator.set_faults(parse_faults("openai=refuse"))
        with pytest.raises(ConnectionRefusedError):
            simulator_calls.ask(simulator, "openai")
        assert simulator_calls.ask(simulator, "anthropic").status == 200
        simulator.set_faults(parse_faults("none"))
        assert simulator_calls.ask(simulator, "openai").status == 200
    assert simulator.base_url("openai") == base_url
    assert simulator.count_connections("openai") == 3


def test_a_provider_that_starts_to_refuse_resets_the_connections_it_had(simulator):
    with contextlib.closing(connect(simulator)) as connection:
        question = (simulator.base_url("openai"), *simulator_calls.build_request("openai"))
        assert simulator_calls.post(*question, connection=connection).status == 200
        simulator.set_faults(parse_faults("openai=refuse"))
        with pytest.raises(ConnectionResetError, match="reset by peer"):
            simulator_calls.post(*question, connection=connection)


def test_one_refused_target_leaves_its_provider_reachable(simulator):
    simulator.set_faults(parse_faults("openai/gpt-6-luna=refuse"))
    assert simulator_calls.ask(simulator, "openai").status == 200
    with pytest.raises(ConnectionResetError, match="reset by peer"):
        simulator_calls.ask(simulator, "openai", model="gpt-6-luna")


def test_the_first_n_calls_only_then_healthy(simulator):
    simulator.set_faults(parse_faults("all=503x2,openai/gpt-6-luna=429x1"))

    def statuses(provider, **options):
        return [simulator_calls.ask(simulator, provider, **options).status for _ in range(3)]

    assert statuses("openai") == [503, 503, 200]
    assert statuses("anthropic") == [503, 503, 200]
    assert statuses("openai", model="gpt-6-luna") == [429, 200, 200]


def test_new_faults_count_anew(simulator):
    for _ in range(2):
        simulator.set_faults(parse_faults("openai=503x1"))
        assert [simulator_calls.ask(simulator, "openai").status for _ in range(2)] == [503, 200]


def test_the_first_n_are_exact_and_by_arrival_under_32_threads(simulator):
    simulator.set_faults(parse_faults("openai=503x7"))
    start = threading.Barrier(32)

    def five(_):
        start.wait()
        return [simulator_calls.ask(simulator, "openai") for _ in range(5)]

    with ThreadPoolExecutor(32) as pool:
        heard = [one for batch in pool.map(five, range(32)) for one in batch]
    failed = [one for one in heard if one.status == 503]
    assert len(failed) == 7
    # The number of the request is in its id.
    assert sorted(int(one.headers["x-request-id"][4:], 16) for one in failed) == [1, 2, 3, 4, 5, 6, 7]
    assert [seen.number for seen in simulator.requests] == list(range(1, 161))
    assert simulator.count("openai") == simulator.count_connections("openai") == 160


def test_64_connections_are_served_at_once(simulator):
    simulator.set_faults(parse_faults("openai=hang"))
    hung = [send(simulator) for _ in range(64)]
    assert simulator.wait_for(lambda: simulator.count() == 64)
    assert simulator.count_open_connections() == 64
    simulator.set_faults(parse_faults("none"))
    assert simulator_calls.ask(simulator, "openai").status == 200
    for connection in hung:
        connection.close()
    assert simulator.wait_for(lambda: simulator.count_open_connections() == 0)


def test_a_hung_client_hears_nothing_until_it_gives_up(simulator):
    simulator.set_faults(parse_faults("openai=hang"))
    with pytest.raises(TimeoutError):
        simulator_calls.post(
            simulator.base_url("openai"), *simulator_calls.build_request("openai"), timeout=0.05
        )
    assert simulator.wait_for(lambda: simulator.count_open_connections() == 0)
    assert simulator.count("openai") == 1


def test_a_slow_answer_ends_with_the_client_that_waits_for_it(simulator):
    simulator.set_faults(parse_faults("openai=slow:3600000"))
    connection = send(simulator)
    assert simulator.wait_for(lambda: simulator.count() == 1)
    connection.close()
    assert simulator.wait_for(lambda: simulator.count_open_connections() == 0)


@pytest.mark.parametrize("fault", ["hang", "slow:3600000"])
def test_closing_frees_every_thread_and_every_client(fault):
    before = set(threading.enumerate())
    with Simulator(parse_faults(f"all={fault}")) as simulator:
        waiting = [send(simulator) for _ in range(8)]
        idle = socket.create_connection((urlsplit(simulator.url).hostname, urlsplit(simulator.url).port))
        assert simulator.wait_for(lambda: simulator.count() == 8)
    assert set(threading.enumerate()) == before
    for connection in waiting:
        with pytest.raises(ConnectionError):
            connection.getresponse()
        connection.close()
    assert idle.recv(1) == b""
    idle.close()


def test_a_client_that_never_reads_does_not_hold_up_the_end():
    before = set(threading.enumerate())
    with Simulator(answer=lambda _: "word " * 2_000_000) as simulator:
        simulator.base_url("openai")
        connection = send(simulator)
        assert simulator.wait_for(lambda: simulator.count() == 1)
    assert set(threading.enumerate()) == before
    connection.close()


def test_after_the_end_nobody_listens():
    with Simulator() as simulator:
        base_url = simulator.base_url("openai")
    with pytest.raises(ConnectionRefusedError):
        simulator_calls.post(base_url, *simulator_calls.build_request("openai"))


def test_whoever_waits_is_woken_by_a_request_and_by_the_end_of_a_connection(simulator):
    simulator.set_faults(parse_faults("openai=hang"))
    too_long = 3600
    with ThreadPoolExecutor(2) as pool:
        arrived = pool.submit(simulator.wait_for, lambda: simulator.count() == 1, too_long)
        connection = send(simulator)
        assert arrived.result(10)
        ended = pool.submit(simulator.wait_for, lambda: simulator.count_open_connections() == 0, too_long)
        connection.close()
        assert ended.result(10)


def test_waiting_in_vain_says_so(simulator):
    assert simulator.wait_for(lambda: False, timeout=0.01) is False


def test_faults_may_be_there_from_the_start():
    with Simulator(parse_faults("openai=refuse,anthropic=503")) as simulator:
        assert simulator_calls.ask(simulator, "anthropic").status == 503
        with pytest.raises(ConnectionRefusedError):
            simulator_calls.ask(simulator, "openai")
