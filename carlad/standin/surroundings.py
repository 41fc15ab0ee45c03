"""Which of the town's structures are there: clients may take away single ones, or whole map layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from carlad.standin import obstacles
from carlad.standin.towns import Town
from carlad.standin.towns.files import TWIN

if TYPE_CHECKING:
    from carlad.standin.rendering.structures import Structure

ALL_LAYERS = 0xFFFF  # carla.MapLayer.All
LAYERED = TWIN  # only CARLA's optimised maps have layers that come and go
ID_BASE = 1 << 32  # environment objects' ids are 64 bits wide in CARLA: none is an actor's id


class Surroundings:
    """The structures of one episode. Those that are hidden are neither seen nor met by rays."""

    def __init__(self, town: Town, layers: int = ALL_LAYERS) -> None:
        self._town = town
        self._layers = layers if town.name.endswith(LAYERED) else ALL_LAYERS
        self._disabled: frozenset[int] = frozenset()
        self._hidden: frozenset[int] | None = frozenset()  # None: has to be found anew
        self._sifted: frozenset[int] | None = None  # what was hidden when obstacles were last sought in it
        self._hidden_obstacles: frozenset[int] = frozenset()
        if self._layers != ALL_LAYERS:
            self._hidden = None

    @property
    def structures(self) -> Sequence[Structure]:
        """All of them; the first call for a town takes some tenths of a second."""
        from carlad.standin.vision import scene_of  # imported at its first use: start-up must be quick

        return scene_of(self._town).structures

    @property
    def hidden(self) -> frozenset[int]:
        """Indices of the structures that are not there."""
        if self._hidden is None:
            away = {
                index
                for index, structure in enumerate(self.structures)
                if structure.layer and not structure.layer & self._layers
            }
            self._hidden = self._disabled | away
        return self._hidden

    @property
    def hidden_obstacles(self) -> frozenset[int]:
        """The same, as indices of obstacles.py."""
        if not self.hidden:
            return self.hidden
        if self.hidden is not self._sifted:
            solids = [
                index
                for index, structure in enumerate(self.structures)
                if structure.name.rpartition("_")[0] in obstacles.KINDS
            ]
            hidden = (number for number, index in enumerate(solids) if index in self.hidden)
            self._hidden_obstacles, self._sifted = frozenset(hidden), self.hidden
        return self._hidden_obstacles

    def show_layers(self, layers: int, shown: bool) -> None:
        """Bring layers back or take them away; without effect where the map has none."""
        if self._town.name.endswith(LAYERED):
            self._layers = self._layers | layers if shown else self._layers & ~layers
            self._hidden = None

    def enable(self, ids: Iterable[int], enabled: bool) -> None:
        """Bring structures back or take them away; ids that do not exist are left out."""
        indices = {id - ID_BASE for id in ids if 0 <= id - ID_BASE < len(self.structures)}
        self._disabled = self._disabled - indices if enabled else self._disabled | indices
        self._hidden = None
