"""One engine with all images for all tests, because it takes minutes to make."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docker.engine import DEBIAN, Engine, engine, import_debian, or_skip, wheels

_PACKAGES = (".[standin,trainer,viz,metrics,gpu]", "hatchling", "setuptools", "wheel")
# CARLA's own image cannot be had: one with the same user and folder, and the stand-in in its place, compiled,
# which listens where CARLA does: everywhere.
_CARLA = """\
FROM carlad:standin
USER 0
RUN rm -rf /home/carla
RUN python3 -m carlad.standin --make-carla-root /home/carla --host 0.0.0.0
RUN cp -a /opt/carlad/app /home/carla/standin
RUN sed -i 's|^exec |PYTHONPATH=/opt/carla/standin exec |' /home/carla/CarlaUE4/Binaries/Linux/*
RUN chown -R carla: /home/carla
USER carla
WORKDIR /home/carla
CMD ["/bin/bash", "CarlaUE4.sh"]
"""
_EXTRAS = "gpu,metrics,standin"  # of all servers: what stands in for CARLA is in that image, too


class Images(NamedTuple):
    """`args`: what they were built with, to find them in the engine's cache again."""

    engine: Engine
    args: dict[str, str]


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    """Built as users build them, by `docker/deploy.sh build`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-")))
        or_skip(folder)
        one = stack.enter_context(engine(folder))
        one.start(alone=False)
        with ThreadPoolExecutor(1) as pool:
            debian = pool.submit(import_debian, one, folder)
            url = stack.enter_context(wheels(folder / "wheels", *_PACKAGES))
            debian.result()
        built = Images(one, {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": url, "EXTRAS": _EXTRAS})
        _build(built, folder, "standin,viz", "carla-server-standin", "carla-rl-training", "viz")
        (folder / "carla").mkdir()
        (folder / "carla" / "Dockerfile").write_text(_CARLA)
        build = ("docker", "build", "--network=host", "-t", "carlasim/carla:0.9.16", str(folder / "carla"))
        one.run(*build, DOCKER_BUILDKIT="1")
        _build(built, folder, "gpu", "carla-server")
        one.start(alone=True)
        yield built


def _build(images: Images, folder: Path, profiles: str, *services: str) -> None:
    """With this machine's network, by a file that compose reads beside its own."""
    beside = folder / "build.yaml"
    parts = "".join(f"  {service}:\n    build: {{ network: host }}\n" for service in services)
    beside.write_text(f"services:\n{parts}")
    options = [part for name, value in images.args.items() for part in ("--build-arg", f"{name}={value}")]
    environ = {
        "COMPOSE_PROFILES": profiles,
        "COMPOSE_FILE": f"compose.yaml:{beside}",
        "DEBIAN_IMAGE": DEBIAN,
        "TRAINER_EXTRAS": "trainer,standin",
    }
    images.engine.run("docker/deploy.sh", "build", *options, *services, within_s=1200.0, **environ)
