"""Actors: everything with an id. Vehicles and lights add what is theirs in modules of their own."""

from __future__ import annotations

from carlad.standin import attributes
from carlad.standin.geometry import compose
from carlad.standin.spring_arm import SpringArm
from carlad.wire import types as t


class Actor:
    """One actor: sensor, prop, spectator or controller, and the base of the moving ones.

    `row` is its place among the records of its kind, see records.py. `parent_from_actor` is set while the
    actor is attached. `semantic_tag` is a CityObjectLabel, 0 for what cannot be seen.
    """

    def __init__(
        self,
        id: int,
        description: t.ActorDescription,
        pose: t.Transform,
        bounding_box: t.BoundingBox,
        semantic_tag: int = 0,
        stream_id: int = 0,
    ) -> None:
        self.id = id
        self.description = description
        self.bounding_box = bounding_box
        self.semantic_tag = semantic_tag
        self.stream_id = stream_id
        self.row = -1
        self.parent: Actor | None = None
        self.children: list[Actor] = []
        self.parent_from_actor: t.Transform | None = None
        self._arm: SpringArm | None = None
        self.collides = True
        self.ignored: frozenset[int] = frozenset()  # vehicles that a Cosmos camera does not show, by id
        self.values = attributes.read(description.attributes)
        self._pose = pose
        self._velocity = t.Vector3D()

    @property
    def type_id(self) -> str:
        return self.description.id

    @property
    def pose(self) -> t.Transform:
        """world_from_actor."""
        return self._pose

    @property
    def velocity(self) -> t.Vector3D:
        """m/s, world frame."""
        return self._velocity

    @property
    def acceleration(self) -> t.Vector3D:
        """m/s^2, world frame; known of vehicles and walkers only."""
        return t.Vector3D()

    @property
    def angular_velocity(self) -> t.Vector3D:
        """deg/s, world frame; known of vehicles only."""
        return t.Vector3D()

    def move(self, pose: t.Transform, velocity: t.Vector3D | None = None) -> None:
        """Put the actor somewhere; `velocity` in m/s, world frame, is kept where none is given."""
        self._pose = pose
        if velocity is not None:
            self._velocity = velocity

    def attach(
        self, parent: Actor, parent_from_actor: t.Transform, attachment: int = t.AttachmentType.RIGID
    ) -> None:
        """`attachment` is an AttachmentType: whether it is carried rigidly or by a spring arm."""
        self.parent = parent
        self.parent_from_actor = parent_from_actor
        if attachment != t.AttachmentType.RIGID:
            self._arm = SpringArm(parent_from_actor, attachment)
        parent.children.append(self)
        self.follow()

    def detach(self) -> None:
        """Let the actor go; it stays where it is."""
        if self.parent is not None:
            self.parent.children.remove(self)
        self.parent = self.parent_from_actor = self._arm = None

    def follow(self, delta_s: float = 0.0) -> None:
        """Move an attached actor to where its parent carries it, `delta_s` after the last time."""
        assert self.parent is not None
        assert self.parent_from_actor is not None
        if self._arm is not None:
            self.move(self._arm.carry(self.parent.pose, delta_s), self.parent.velocity)
        else:
            self.move(compose(self.parent.pose, self.parent_from_actor), self.parent.velocity)

    def hang(self, parent_from_actor: t.Transform) -> None:
        """Carry an attached actor somewhere else from now on; a spring arm becomes a rigid one."""
        self.parent_from_actor, self._arm = parent_from_actor, None
        self.follow()

    def wire(self, stream_token: bytes) -> t.Actor:
        return t.Actor(
            id=self.id,
            parent_id=self.parent.id if self.parent is not None else 0,
            description=self.description,
            bounding_box=self.bounding_box,
            semantic_tags=bytes([self.semantic_tag]) if self.semantic_tag else b"",
            stream_token=stream_token,
        )
