"""Camera sensors: what `rendering` draws, in the layouts of the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from carlad.standin.actors import Actor
from carlad.standin.rendering.cameras import Image, raster_for, render_depth, render_rgb, render_semantic
from carlad.standin.rendering.events import EventCamera, EventModel
from carlad.standin.rendering.flow import FlowCamera
from carlad.standin.rendering.labels import render_cosmos, render_instance, render_normals
from carlad.standin.rendering.pinhole import CameraModel
from carlad.standin.rendering.strokes import draw
from carlad.standin.vision import Eyes
from carlad.wire import types as t
from carlad.wire.sensors import image_header

IMAGE_SIDE_MAX = 8192  # pixels
_NS = 1e9


class Camera:
    """Renders one camera's images."""

    def __init__(
        self, actor: Actor, eyes: Eyes, render: Callable[[Eyes, CameraModel, t.Transform], Image]
    ) -> None:
        self._model = _model(actor, eyes)
        self._head = image_header(self._model.width, self._model.height, self._model.fov_deg)
        self._eyes = eyes
        self._render = render

    def measure(self, sensor: Actor, delta_s: float) -> tuple[Any, ...]:
        image = self._render(self._eyes, self._model, sensor.pose)
        return self._head, image.reshape(-1)

    def rehearse(self, sensor: Actor) -> None:
        """Draw for nobody, where none of this kind and size was drawn in this town yet."""
        if self._eyes.are_new_to(f"{sensor.type_id} {self._model}"):
            self._render(self._eyes, self._model, sensor.pose)


class Cosmos:
    """Draws one camera's control picture, without the ego vehicle and those that its sensor ignores."""

    def __init__(self, actor: Actor, eyes: Eyes) -> None:
        self._model = _model(actor, eyes)
        self._head = image_header(self._model.width, self._model.height, self._model.fov_deg)
        self._eyes = eyes

    def measure(self, sensor: Actor, delta_s: float) -> tuple[Any, ...]:
        unseen = sensor.ignored | self._eyes.egos()
        image = render_cosmos(self._eyes.frame(), self._model, sensor.pose, unseen)
        return self._head, image.reshape(-1)


class OpticalFlow:
    """Measures one camera's optical flow."""

    def __init__(self, actor: Actor, eyes: Eyes) -> None:
        model = _model(actor, eyes)
        self._head = image_header(model.width, model.height, model.fov_deg)
        self._eyes = eyes
        self._camera = FlowCamera(model)

    def measure(self, sensor: Actor, delta_s: float) -> tuple[Any, ...]:
        return self._head, self._camera.render(self._eyes.frame(), sensor.pose).reshape(-1)


class Dvs:
    """Reports one event camera's events; sends nothing while nothing changes, as CARLA does."""

    def __init__(self, actor: Actor, eyes: Eyes) -> None:
        self._model = _model(actor, eyes)
        self._head = image_header(self._model.width, self._model.height, self._model.fov_deg)
        self._eyes = eyes
        self._camera = EventCamera(EventModel.from_attributes(actor.values), actor.stream_id)

    def measure(self, sensor: Actor, delta_s: float) -> tuple[Any, ...] | None:
        image = _rgb(self._eyes, self._model, sensor.pose)
        events = self._camera.events(image, round(self._eyes.time_s * _NS))
        return (self._head, events.tobytes()) if len(events) else None


def _model(actor: Actor, eyes: Eyes) -> CameraModel:
    """Raises ValueError where the attributes make no picture."""
    model = CameraModel.from_attributes(actor.values)
    if max(model.width, model.height) > IMAGE_SIDE_MAX:
        raise ValueError(f"cannot render an image of more than {IMAGE_SIDE_MAX} pixels a side")
    if raster_for(model) is None:
        eyes.will_cast()
    return model


def _rgb(eyes: Eyes, model: CameraModel, pose: t.Transform) -> Image:
    image = render_rgb(eyes.frame(), model, pose, eyes.weather)
    return draw(image, eyes.frame(), model, pose, eyes.strokes)


def _depth(eyes: Eyes, model: CameraModel, pose: t.Transform) -> Image:
    return render_depth(eyes.frame(), model, pose)


def _semantic(eyes: Eyes, model: CameraModel, pose: t.Transform) -> Image:
    return render_semantic(eyes.frame(), model, pose)


def _instance(eyes: Eyes, model: CameraModel, pose: t.Transform) -> Image:
    return render_instance(eyes.frame(), model, pose)


def _normals(eyes: Eyes, model: CameraModel, pose: t.Transform) -> Image:
    return render_normals(eyes.frame(), model, pose)


CAMERAS: dict[str, Callable[[Actor, Eyes], Camera | Cosmos | OpticalFlow | Dvs]] = {
    "sensor.camera.rgb": lambda actor, eyes: Camera(actor, eyes, _rgb),
    "sensor.camera.depth": lambda actor, eyes: Camera(actor, eyes, _depth),
    "sensor.camera.semantic_segmentation": lambda actor, eyes: Camera(actor, eyes, _semantic),
    "sensor.camera.instance_segmentation": lambda actor, eyes: Camera(actor, eyes, _instance),
    "sensor.camera.normals": lambda actor, eyes: Camera(actor, eyes, _normals),
    "sensor.camera.cosmos_visualization": Cosmos,
    "sensor.camera.optical_flow": OpticalFlow,
    "sensor.camera.dvs": Dvs,
}
