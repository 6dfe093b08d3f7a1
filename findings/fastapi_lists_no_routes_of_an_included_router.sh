#!/usr/bin/env bash
# FastAPI 0.165.0: `app.routes` does not list the routes of a router that was included.
#
# Expected: after `app.include_router(router)` the router's routes are in `app.routes` as APIRoute, as in FastAPI 0.115.0; a test that
# goes through `app.routes` to see that each one asks for a login sees each one.
# Seen: one object for the whole router, without path and methods. The same loop finds no route and passes; the route is served, and
# the OpenAPI description names it. The routes are in that object's `original_router.routes`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > look.py <<'PY'
import fastapi
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

router = APIRouter()


@router.get("/secret")
def secret() -> str:
    return "told"


app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
app.include_router(router)
listed = [route.path for route in app.routes if isinstance(route, APIRoute)]
print(fastapi.__version__, "app.routes:", listed, "OpenAPI:", list(app.openapi()["paths"]))
assert list(app.openapi()["paths"]) == ["/secret"]
if fastapi.__version__ == "0.115.0":
    assert listed == ["/secret"]
else:
    assert listed == [], "changed: the routes are listed"
    assert [route.path for one in app.routes for route in one.original_router.routes] == ["/secret"], "changed"
PY
for release in 0.115.0 0.165.0; do
    python3 -m venv "env-$release"
    "env-$release/bin/pip" --quiet --disable-pip-version-check install "fastapi==$release"
    "env-$release/bin/python" look.py
done
