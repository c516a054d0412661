"""What a user lets the graphs of a module do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class OpPolicy:
    """How far the list of allowed ops binds a module; checks of structure bind every module.

    Example:
        >>> OpPolicy.of(safe_mode=True, allow_ops=["ReadFile"]).extra_ops
        frozenset({'ReadFile'})
    """

    safe_mode: bool = True
    """Whether ops that are not on the list are refused."""
    extra_ops: frozenset[str] = frozenset()
    """Ops that are allowed besides, whatever they do."""
    judges_unknown: bool = False
    """Whether ops that are not registered in this process are judged like others, as for who only looks at a module.
    Whoever runs it is better told that they are missing; they are judged as soon as they are registered."""

    @staticmethod
    def of(*, safe_mode: bool, allow_ops: Collection[str]) -> OpPolicy:
        """Makes the policy of the arguments `safe_mode` and `allow_ops`."""
        return OpPolicy(safe_mode, frozenset(allow_ops))

    def widened(self, other: OpPolicy) -> OpPolicy:
        """Returns the policy that allows what either allows."""
        return OpPolicy(self.safe_mode and other.safe_mode, self.extra_ops | other.extra_ops)
