"""The service: answers, limits, hostile requests, micro-batches, the end, and the page in a browser."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from spacy.language import Language

from spacy_xner.cli.app import xner
from spacy_xner.deploy.annotate import Settings, Text
from spacy_xner.deploy.annotations import describe
from spacy_xner.deploy.serve.limits import Limits, Refusal
from spacy_xner.deploy.serve.server import serve_pipeline
from spacy_xner.errors import XnerError

from tests import tiny
from tests.browser import HOSTILE, open_browser
from tests.cli import invoke

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("uvicorn", reason="needs the extra `serve`")
from spacy_xner.deploy.serve.app import create_app
from spacy_xner.deploy.serve.batching import Batcher
from spacy_xner.deploy.serve.metrics import Metrics

testclient = pytest.importorskip("fastapi.testclient", reason="needs httpx, of the extra `dev`")
# The tiny encoder knows few letters.
pytestmark = pytest.mark.filterwarnings(r"ignore:\[XNER-W141")
SMALL = Limits(max_texts=4, max_characters=2000, max_bytes=10_000)
HEBREW = "Maria Santos גרה בעיר Lisbon ובירושלים עיר הקודש"


@pytest.fixture(scope="module")
def client(trained):
    with testclient.TestClient(create_app(trained, SMALL)) as client:
        yield client


def ask(client, **query):
    return client.post("/entities", json=query)


def expected_of(nlp, texts):
    """The lines that `annotate` writes for each text, read alone."""
    settings = Settings("")
    return [describe(row) for text in texts for row in settings.annotate(nlp, [Text(text, {})])]


def without_direction(results):
    return [{key: value for key, value in row.items() if key != "direction"} for row in results]


def test_answers_are_those_of_the_pipeline(client, trained):
    expected = expected_of(trained, tiny.TEXTS)
    assert sum(len(row["ents"]) for row in expected) == 8
    for text, row in zip(tiny.TEXTS, expected, strict=True):
        [result] = ask(client, text=text).json()["results"]
        assert without_direction([result]) == [row]
    results = ask(client, texts=tiny.TEXTS[:4]).json()["results"]
    for result, row in zip(without_direction(results), expected, strict=False):
        assert [(e["start"], e["end"], e["label"]) for e in result["ents"]] == [
            (e["start"], e["end"], e["label"]) for e in row["ents"]
        ]
        assert [e["score"] for e in result["ents"]] == pytest.approx(
            [e["score"] for e in row["ents"]], abs=2e-4
        )
    assert ask(client, texts=[]).json() == {"results": []}
    assert ask(client, texts=["", " "]).json()["results"][1]["ents"] == []


def test_a_language_is_taken_and_entities_below_a_threshold_are_not(client):
    [result] = ask(client, text=tiny.TEXTS[0], language="en-US").json()["results"]
    assert result["language"] == "en"
    scores = sorted(ent["score"] for ent in result["ents"])
    assert len(scores) == 2
    middle = sum(scores) / 2
    [result] = ask(client, text=tiny.TEXTS[0], threshold=middle).json()["results"]
    assert [ent["score"] for ent in result["ents"]] == [score for score in scores if score >= middle]
    assert ask(client, text=HEBREW).json()["results"][0]["direction"] == "rtl"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "XNER722"),
        (b"{", 422, "XNER722"),
        (b"[]", 422, "XNER722"),
        (b"null", 422, "XNER722"),
        (b"{}", 422, "XNER722"),
        (b'{"text": 7}', 422, "XNER722"),
        (b'{"text": {"text": {}}}', 422, "XNER722"),
        (b'{"text": null}', 422, "XNER722"),
        (b'{"text": "a", "texts": ["b"]}', 422, "XNER722"),
        (b'{"texts": "ab"}', 422, "XNER722"),
        (b'{"texts": [1]}', 422, "XNER722"),
        (b'{"texts": ["a", null]}', 422, "XNER722"),
        (b'{"text": "a", "more": 1}', 422, "XNER722"),
        (b'{"text": "a", "threshold": 2}', 422, "XNER722"),
        (b'{"text": "a", "threshold": NaN}', 422, "XNER722"),
        (b'{"text": "a", "threshold": 1e999}', 422, "XNER722"),
        (b'{"text": "a", "threshold": "0.5"}', 422, "XNER722"),
        (b'{"text": "a", "language": 5}', 422, "XNER722"),
        (b'{"text": "a", "language": "<script>"}', 422, "XNER350"),
        (b'{"text": "a", "language": ""}', 422, "XNER350"),
        (b'{"text": "\xff\xfe"}', 422, "XNER722"),
        (b'{"text": "\xed\xa0\x80"}', 422, "XNER722"),
        (b'{"text": "\\ud800"}', 422, "XNER722"),
        (b'{"text": "a"}'.decode().encode("utf-16"), 422, "XNER722"),
        (b"[" * 5000, 422, "XNER722"),
        (b'{"text":' * 1000 + b"1" + b"}" * 1000, 422, "XNER722"),
        (b'{"texts": ["a", "a", "a", "a", "a"]}', 413, "XNER723"),
        (b'{"text": "' + b"a" * 2001 + b'"}', 413, "XNER723"),
        (b'{"text": "' + b"a" * 10_001 + b'"}', 413, "XNER721"),
    ],
)
def test_hostile_bodies_get_coded_refusals(client, body, status, code):
    response = client.post("/entities", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.json()["error"]["message"].startswith(f"[{code}] ")
    assert ask(client, text="a").status_code == 200


def test_a_body_without_a_length_is_read_as_far_as_the_limit(client):
    n_read = []

    def chunks():
        for number in range(1000):
            n_read.append(number)
            yield b"a" * 1000

    response = client.post("/entities", content=chunks(), headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "XNER721")


@pytest.mark.parametrize("text", [*HOSTILE, "\0", "\u202e", "a\u0301" * 500, "\U0001f600" * 100, "\r\n\t"])
def test_hostile_texts_are_texts(client, text):
    response = ask(client, text=text)
    assert response.status_code == 200
    assert response.json()["results"][0]["text"] == text
    assert response.headers["content-type"] == "application/json"


def test_other_media_types_paths_and_methods_are_refused(client):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = client.post("/entities", content=b'{"text": "a"}', headers={"Content-Type": kind})
        assert (response.status_code, response.json()["error"]["code"]) == (415, "XNER722")
    for method, path, status in (
        ("GET", "/entities", 404), ("GET", "/../setup.py", 404), ("GET", "/app.py", 404),
        ("GET", "/%2e%2e/app.py", 404), ("DELETE", "/entities", 405), ("GET", "/docs", 404),
    ):  # fmt: skip
        response = client.request(method, path)
        assert (response.status_code, response.json()["error"]["code"]) == (status, "XNER729"), path


def test_every_answer_has_the_strict_policy(client):
    for response in (client.get("/"), client.get("/page.js"), client.get("/no"), ask(client, text="a")):
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
    page = client.get("/").text
    assert "<style" not in page
    assert "style=" not in page
    assert "//" not in page


def test_names_from_the_pipeline_are_escaped_on_the_page(trained, monkeypatch):
    monkeypatch.setitem(trained.meta, "name", HOSTILE[0])
    with testclient.TestClient(create_app(trained, SMALL)) as client:
        assert HOSTILE[0] not in client.get("/").text
        assert "&lt;script&gt;" in client.get("/").text


def test_health_and_metrics(client):
    assert client.get("/health").json() == {"status": "ok"}
    before, after = ({}, {})
    for values in (before, after):
        ask(client, texts=["a", "b"])
        client.post("/entities", content=b"{", headers={"Content-Type": "application/json"})
        for line in client.get("/metrics").text.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
    assert after['xner_requests_total{status="200"}'] == before['xner_requests_total{status="200"}'] + 1
    assert after['xner_requests_total{status="422"}'] == before['xner_requests_total{status="422"}'] + 1
    assert after["xner_texts_total"] == before["xner_texts_total"] + 2
    assert after["xner_batches_total"] == before["xner_batches_total"] + 1
    assert after['xner_request_seconds_bucket{le="+Inf"}'] == after["xner_request_seconds_count"]
    assert after["xner_request_seconds_count"] == before["xner_request_seconds_count"] + 2
    assert after["xner_texts_waiting"] == 0


class Gate(Language):
    """A pipeline that reads a batch when it is let, and fails on a word."""

    def __init__(self):
        super().__init__()
        self.gate, self.batches = threading.Event(), []
        self.entered = threading.Event()

    def pipe(self, pairs, **settings):
        pairs = list(pairs)
        self.batches.append([doc.text for doc, _ in pairs])
        self.entered.set()
        assert self.gate.wait(60)
        for doc, context in pairs:
            if doc.text == "fail":
                raise RuntimeError("no")
            yield doc, context


@pytest.fixture
def gate():
    nlp = Gate()
    yield nlp
    nlp.gate.set()


def start(nlp, **limits):
    batcher = Batcher(nlp, Limits(**limits), Metrics())
    batcher.start()
    return batcher


def test_requests_that_wait_are_read_together(gate):
    batcher = start(gate, batch_size=4, wait=0)
    futures = [batcher.submit(["first"])]
    assert gate.entered.wait(60)
    futures += [batcher.submit([f"a{i}", f"b{i}"]) for i in range(3)]
    gate.gate.set()
    answers = [[row["text"] for row in future.result(60)] for future in futures]
    assert answers == [["first"], *([f"a{i}", f"b{i}"] for i in range(3))]
    assert gate.batches == [["first"], ["a0", "b0", "a1", "b1"], ["a2", "b2"]]
    batcher.close()


def test_a_text_that_fails_spoils_no_other(gate, caplog):
    gate.gate.set()
    batcher = Batcher(gate, Limits(batch_size=8, wait=0), Metrics())
    futures = [batcher.submit([text]) for text in ("one", "fail", "two")]
    batcher.start()
    assert [futures[i].result(60)[0]["text"] for i in (0, 2)] == ["one", "two"]
    with pytest.raises(Refusal, match="XNER727") as info:
        futures[1].result(60)
    assert info.value.status == 500
    assert "RuntimeError: no" in caplog.text
    batcher.close()


def test_a_full_queue_and_an_ending_service_refuse(gate):
    batcher = start(gate, batch_size=1, wait=0, max_waiting=2)
    first = batcher.submit(["running"])
    assert gate.entered.wait(60)
    waiting = batcher.submit(["a", "b"])
    with pytest.raises(Refusal, match="XNER724") as info:
        batcher.submit(["c"])
    assert info.value.status == 503
    ending = threading.Thread(target=batcher.close)
    ending.start()
    while batcher.is_alive:
        time.sleep(0.01)
    with pytest.raises(Refusal, match="XNER726"):
        batcher.submit(["d"])
    gate.gate.set()
    ending.join(60)
    # Those that were taken are answered.
    assert [len(future.result(0)) for future in (first, waiting)] == [1, 2]


def test_texts_of_a_request_that_was_given_up_are_not_read(gate):
    batcher = start(gate, batch_size=1, wait=0)
    batcher.submit(["running"])
    assert gate.entered.wait(60)
    future = batcher.submit(["given up"])
    last = batcher.submit(["last"])
    assert future.cancel()
    gate.gate.set()
    assert last.result(60)[0]["text"] == "last"
    assert gate.batches == [["running"], ["last"]]
    batcher.close()


def test_busy_and_slow_services_say_so(gate):
    limits = Limits(batch_size=1, wait=0, max_waiting=1, max_texts=2, timeout=0.2)
    with testclient.TestClient(create_app(gate, limits)) as client:
        response = ask(client, texts=["a", "b"])
        assert (response.status_code, response.json()["error"]["code"]) == (503, "XNER724")
        assert response.headers["retry-after"] == "1"
        response = ask(client, text="a")
        assert (response.status_code, response.json()["error"]["code"]) == (504, "XNER725")
        gate.gate.set()
        client.app.state.batcher.close()
        assert client.get("/health").status_code == 503
        assert ask(client, text="a").json()["error"]["code"] == "XNER726"


def test_many_requests_at_once_get_their_answers(client, trained):
    texts = [f"{text} {n}" for n in range(20) for text in tiny.TEXTS]
    expected = expected_of(trained, texts)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: ask(client, text=text).json()["results"], texts))
    for [answer], row in zip(answers, expected, strict=True):
        assert answer["text"] == row["text"]
        assert [(e["start"], e["label"]) for e in answer["ents"]] == [
            (e["start"], e["label"]) for e in row["ents"]
        ]


def words_of(nlp):
    return sum(1 for _ in nlp.vocab), len(nlp.vocab.strings)


def test_words_of_texts_are_forgotten(client, trained):
    ask(client, text="a")
    before = words_of(trained)
    for number in range(5):
        ask(client, text=" ".join(f"w{number}x{i}" for i in range(50)))
    assert words_of(trained) == before


def test_settings_and_a_missing_extra_are_coded_errors(monkeypatch):
    for setting in ("batch_size", "max_texts", "timeout", "max_waiting"):
        with pytest.raises(XnerError, match="XNER728"):
            Limits(**{setting: 0})
    with pytest.raises(XnerError, match="XNER728"):
        Limits(wait=-1)
    assert "XNER728" in invoke(xner, "serve", "x", "--timeout=0", code=1)
    with pytest.raises(XnerError, match="XNER420"):
        serve_pipeline("/nowhere")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(XnerError, match="XNER720"):
        serve_pipeline("/nowhere")
    assert "spacy_xner[serve]" in invoke(xner, "serve", "/nowhere", code=1)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def service(trained, tmp_path_factory):
    """The command itself. YIELDS: The process and its address."""
    folder = tmp_path_factory.mktemp("served")
    trained.to_disk(folder)
    port = free_port()
    command = [sys.executable, "-m", "spacy", "xner", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, process.stdout.read()
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        yield process, url
    finally:
        process.kill()
        process.wait()


def draw(browser, text, count):
    """Write a text, ask with the keyboard alone, and wait for as many entities."""
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    area = browser.switch_to.active_element
    browser.execute_script("arguments[0].value = arguments[1]", area, text)
    area.send_keys(Keys.CONTROL, Keys.ENTER)
    ready = f"{count} of {count} entities shown"
    WebDriverWait(browser, 60).until(
        lambda b: (
            b.execute_script("return document.getElementById('message').textContent") == ready
            and b.execute_script("return document.getElementById('marked').textContent").startswith(text[:1])
        )
    )


def test_the_page_in_a_browser(service, trained, tmp_path):
    from selenium.webdriver.common.keys import Keys

    _, url = service
    with open_browser(tmp_path / "profile") as browser:
        browser.get(url)
        assert browser.switch_to.active_element.get_attribute("id") == "text"
        # An emoji has two units in JavaScript and one character in Python.
        text = f"\U0001f600 {tiny.TEXTS[0]}"
        [row] = expected_of(trained, [text])
        draw(browser, text, len(row["ents"]))
        script = "return [...document.querySelectorAll('mark')].map(e => e.firstChild.data)"
        assert browser.execute_script(script) == [ent["text"] for ent in row["ents"]]
        assert row["ents"]
        labels = browser.execute_script("return [...document.querySelectorAll('bdi')].map(e => e.innerText)")
        assert labels == [f"{ent['label']} {ent['score']:.2f}" for ent in row["ents"]]
        # From the text by the keyboard: language, slider, button, entities.
        order = []
        for _ in range(4):
            browser.switch_to.active_element.send_keys(Keys.TAB)
            order.append(browser.switch_to.active_element.get_attribute("id"))
        assert order == ["language", "threshold", "find", ""]
        assert browser.switch_to.active_element.tag_name == "mark"
        slider = browser.find_element("id", "threshold")
        slider.send_keys(Keys.END)
        assert browser.execute_script("return document.getElementById('lowest').textContent") == "1.00"
        assert browser.execute_script("return document.querySelectorAll('mark').length") == sum(
            ent["score"] >= 1 for ent in row["ents"]
        )
        slider.send_keys(Keys.HOME)
        browser.find_element("id", "text").click()
        [row] = expected_of(trained, [HEBREW])
        draw(browser, HEBREW, len(row["ents"]))
        style = "return getComputedStyle(document.getElementById('marked')).direction"
        assert browser.execute_script(style) == "rtl"
        unlabelled = browser.execute_script(
            "return [...document.querySelectorAll('input, textarea')].filter(e => !e.labels.length).length"
        )
        assert unlabelled == 0


def test_nothing_from_outside_runs_on_the_page(service, trained, tmp_path):
    _, url = service
    with open_browser(tmp_path / "profile") as browser:
        browser.get(url)
        n_elements = browser.execute_script("return document.querySelectorAll('svg, img, iframe, a').length")
        assert n_elements == 0
        for string in HOSTILE:
            [row] = expected_of(trained, [string])
            draw(browser, string, len(row["ents"]))
            assert browser.execute_script("return window.pwned") is None
            shown = browser.execute_script(
                "const m = document.getElementById('marked').cloneNode(true);"
                "m.querySelectorAll('bdi').forEach(e => e.remove());"
                "return [m.textContent, m.querySelectorAll(':not(mark)').length]"
            )
            assert shown == [string, 0]
        # Nothing is fetched from elsewhere, and the policy stops scripts in the page.
        urls = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert urls
        assert all(name.startswith(url) for name in urls)
        browser.execute_script(
            "const s = document.createElement('script'); s.textContent = 'window.pwned=1';"
            "document.body.append(s)"
        )
        assert browser.execute_script("return window.pwned") is None
        # What the service refuses is said.
        browser.execute_script("document.getElementById('language').value = '<b>'")
        browser.find_element("id", "find").click()
        from selenium.webdriver.support.ui import WebDriverWait

        said = "return document.getElementById('message').textContent"
        WebDriverWait(browser, 60).until(lambda b: "XNER350" in b.execute_script(said))


def test_invalid_http_is_refused_and_the_service_goes_on(service):
    _, url = service
    port = int(url.rpartition(":")[2])
    for content in (b"\x00\xff\r\n\r\n", b"POST /entities HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(content)
            assert b" 400 " in connection.recv(1000)
    assert json.load(urllib.request.urlopen(f"{url}/health", timeout=60)) == {"status": "ok"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
def test_a_stopped_service_ends_by_itself(service):
    """The last test of this service."""
    process, url = service
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, -signal.SIGTERM)
    assert "Traceback" not in process.stdout.read()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/health", timeout=5)
