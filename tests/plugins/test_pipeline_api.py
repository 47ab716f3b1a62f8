"""API operations that pipelines of third parties bring: usable ones are served, others left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mailslot_plugins.panel.security.keys import ApiKeys
from panel.browser_client import BrowserClient
from panel.running_panel import run_panel

if TYPE_CHECKING:
    from pathlib import Path

    from plugins.conftest import Site

PIPELINE = """
from mailslot.plugin import Done, PanelPackage

class Pipeline:
    section = None
    polls = None

    def __init__(self, name):
        self.name = name
        self.panel = PanelPackage(f"acme_{name}", has_api=True)

    async def handle(self, mail, device):
        return Done()

    async def run(self, device):
        pass

counter, path, schema, alien, broken = map(Pipeline, ("counter", "path", "schema", "alien", "broken"))
"""
API = """
from mailslot_plugins.panel.api.json_schema import COUNT, closed_object_schema, enum_of, object_schema, schema_ref
from mailslot_plugins.panel.api.operation import Operation, ResponseSpec, json_response

async def count_NAME(call):
    return json_response({"tray": call.request.path_params["tray_NAME"], "pages": call.body.get("pages", 0)})

async def leave_NAME(call):
    raise SystemExit(3)

path_parameters = {"tray_NAME": enum_of("upper", "lower")}
schemas = {"SCHEMA": object_schema(pages=COUNT)}
operations = (
    Operation(
        "POST",
        "/PATH/{tray_NAME}",
        count_NAME,
        "Count pages.",
        {200: ResponseSpec("The count.", schema_ref("SCHEMA"))},
        body=closed_object_schema({"pages": COUNT}),
    ),
    Operation("DELETE", "/PATH", leave_NAME, "Leave.", {204: ResponseSpec("Gone.")}),
)
"""


def api(name: str, path: str, schema: str) -> str:
    return API.replace("NAME", name).replace("PATH", path).replace("SCHEMA", schema)


MODULES = {
    "counter": api("counter", "counter", "Count"),
    "path": api("path", "slots", "Another"),
    "schema": api("schema", "elsewhere", "Job"),
    "alien": "operations = ['GET /alien']",
    "broken": "raise SystemExit(2)",
}


@pytest.fixture
def acme(site: Site) -> None:
    site.module("acme", PIPELINE)
    site.install("acme", "[mailslot.pipelines]\n" + "".join(f"{name} = acme:{name}\n" for name in MODULES))
    for name, module in MODULES.items():
        folder = site.path / f"acme_{name}"
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "api.py").write_text(module)
        (folder / "words.toml").touch()
        site.modules += [folder.name, f"{folder.name}.api"]


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_pipeline_adds_api_operations(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = tmp_path / "home"
    async with run_panel(home) as panel, BrowserClient(panel.address) as script:
        key = ApiKeys(home, lambda: 0.0).make("test")
        unsigned = await script.post("/api/counter/upper", json={"pages": 3})
        assert unsigned.status_code == 401
        script.headers["authorization"] = f"Bearer {key.reveal()}"

        counted = await script.post("/api/counter/upper", json={"pages": 3})
        assert counted.json() == {"tray": "upper", "pages": 3}
        refused = await script.post("/api/counter/upper", json={"pages": -3})
        assert (refused.status_code, refused.json()["key"]) == (422, "pages")
        assert (await script.delete("/api/counter")).status_code == 500, "it ends its own request alone"

        document = (await script.get("/api/openapi.json")).json()
        operation = document["paths"]["/api/counter/{tray_counter}"]["post"]
        assert operation["tags"] == ["counter"]
        assert operation["parameters"][0]["schema"] == {"enum": ["upper", "lower"]}
        assert document["components"]["schemas"]["Count"]["required"] == ["pages"]
        assert document["components"]["schemas"]["Job"]["required"][0] == "id", "the panel's own is unchanged"
        assert "alerts" in [tag["name"] for tag in document["tags"]]

        assert (await script.get("/api/slots")).status_code == 200
        for path in ("/api/slots/upper", "/api/elsewhere/upper", "/api/alien", "/api/broken"):
            assert (await script.post(path, json={})).status_code in {404, 405}, path
    messages = [record.getMessage() for record in caplog.records if "is left out" in record.getMessage()]
    for name in ("path", "schema", "alien", "broken"):
        assert [text for text in messages if text.startswith(f"The API of the pipeline {name} ")], name
    assert not [text for text in messages if "counter" in text]
