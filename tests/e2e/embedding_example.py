"""A Starlette application with views of its own and a gateway at /edge."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from app import Gateway, Settings

gateway = Gateway(Settings(manifests=(Path("manifests"),)))


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


application = Starlette(
    routes=[Route("/hello", hello), Mount("/edge", gateway)],
    lifespan=gateway.lifespan,  # Starlette runs no lifespan of what it mounts
)
