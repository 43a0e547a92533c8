"""The page at /: nothing is loaded from elsewhere, and it works in a browser."""

import re
import shutil
import subprocess
import threading
import time

import pytest

from raykd.serve.page import PAGE
from raykd.serve.prediction_service import PredictionService, score_in_process

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


def test_nothing_is_loaded_from_elsewhere():
    assert not re.search(r"https?://|src=|@import|<link(?! rel=\"icon\" href=\"data:)", PAGE)
    assert "innerHTML" not in PAGE, "labels are text, never markup"


@pytest.fixture
def address(served):
    """The application behind uvicorn on a free port."""
    uvicorn = pytest.importorskip("uvicorn", reason="the extra raykd[serve] is not installed")
    from raykd.serve.http_app import build_app, server_info

    service = PredictionService(served.description, score_in_process(served))
    app = build_app(service, server_info(served.description, None, form="torch", threshold=None))

    @app.get("/script")
    def script():
        """The page, with a text typed and sent as a user does."""
        from fastapi.responses import HTMLResponse

        typed = "<script>at('text').value = 'good ' + 'film '.repeat(40); at('form').requestSubmit();</script>"
        return HTMLResponse(PAGE.replace("</body>", typed + "</body>"))

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed, in which the page could be opened")
def test_a_text_typed_into_the_page_is_answered(address, tmp_path):
    common = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
              "--virtual-time-budget=8000"]  # fmt: skip
    seen = subprocess.run([*common, "--dump-dom", f"{address}/script"], capture_output=True, text=True, timeout=120, check=True)
    assert re.search(r'class="row first"><span>(bad|good)</span>', seen.stdout)
    assert len(re.findall(r"\d+\.\d%</span>", seen.stdout)) == 2
    assert re.search(r"\d+\.\d ms; the text was longer than the model reads", seen.stdout)
    assert "single-label model: bad, good; texts of up to 32 tokens" in seen.stdout
