"""What is admitted at a moment: quotas used, and a place for everything."""

from __future__ import annotations

from collections.abc import Mapping

from ome_iac.planning.admission.model import Amounts, Flavor, Gang, Queue
from ome_iac.planning.admission.packing import Floor, pack
from ome_iac.planning.admission.quotas import Quotas


class Snapshot:
    """Admitted gangs, oldest first, each on a flavor."""

    def __init__(self, queues: Mapping[str, Queue], flavors: Mapping[str, Flavor]) -> None:
        self.queues = queues
        self.flavors = flavors
        self.quotas = Quotas(queues)
        self._admitted: dict[str, tuple[Gang, str]] = {}
        self._floors = {name: Floor.empty(flavor) for name, flavor in flavors.items()}

    def copy(self) -> Snapshot:
        """The same, changed independently."""
        other = Snapshot(self.queues, self.flavors)
        other.quotas = self.quotas.copy()
        other._admitted = dict(self._admitted)
        other._floors = dict(self._floors)
        return other

    def has(self, gang: Gang) -> bool:
        """Whether the gang is admitted."""
        return gang.name in self._admitted

    def flavor_of(self, gang: Gang) -> str:
        """The flavor of an admitted gang."""
        return self._admitted[gang.name][1]

    def blocks_of(self, gang: Gang) -> tuple[tuple[str, int], ...]:
        """Blocks of an admitted gang, and its pods in each."""
        return self._floors[self.flavor_of(gang)].blocks_of(gang)

    def admitted_on(self, flavor: str) -> list[Gang]:
        """Gangs on a flavor, oldest first."""
        return [gang for gang, on in self._admitted.values() if on == flavor]

    def fits(self, gang: Gang, flavor: str, borrowing: bool = True) -> bool:
        """Whether the queue has quota for the gang and the nodes a place for it beside all others."""
        return self.copy().admit(gang, flavor, borrowing)

    def floor_with(self, gang: Gang, flavor: str) -> Floor | None:
        """Places of everything on the flavor with the gang; the others move where it cannot be done otherwise."""
        return self._floors[flavor].with_gang(gang) or pack([*self.admitted_on(flavor), gang], self.flavors[flavor])

    def admit(self, gang: Gang, flavor: str, borrowing: bool = True) -> bool:
        """Take quota and place, where there are both; whether it did."""
        if flavor not in self.flavors or self.quotas.uncovered(gang, flavor):
            return False
        floor = None if self.quotas.shortage(gang, flavor, borrowing) else self.floor_with(gang, flavor)
        if floor is None:
            return False
        self._floors[flavor] = floor
        self.quotas.add(gang, flavor)
        self._admitted[gang.name] = (gang, flavor)
        return True

    def remove(self, gang: Gang) -> None:
        """Give quota and place back."""
        _, flavor = self._admitted.pop(gang.name)
        self.quotas.add(gang, flavor, -1)
        self._floors[flavor] = self._floors[flavor].without(gang)

    def borrowed(self) -> dict[str, Amounts]:
        """What of each admitted gang is above its queue's quota, gangs admitted before it counted first."""
        earlier, found = Quotas(self.queues), {}
        for gang, flavor in self._admitted.values():
            found[gang.name] = earlier.borrows(gang, flavor)
            earlier.add(gang, flavor)
        return found
