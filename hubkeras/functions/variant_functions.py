"""The functions of one graph variant, each built when it is first called."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from hubkeras.errors import SignatureError
from hubkeras.functions.bound_subgraph import BoundSubgraph
from hubkeras.functions.build_lock import BUILDING
from hubkeras.functions.tensor_info import flatten_all, pack_all, parse_infos

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hubkeras.functions.bound_subgraph import DrawSeed
    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.functions.variant_state import VariantState
    from hubkeras.savedmodel.description import SignatureSpec


class SignatureFunction:
    """Some outputs of one signature as a function of its inputs, which may run the variant's update ops as well."""

    def __init__(
        self, variant: VariantFunctions, signature: SignatureSpec, outputs: Sequence[str], update: bool
    ) -> None:
        self.inputs, wanted = variant.inputs(signature.name), frozenset(outputs)
        self.outputs = parse_infos({name: info for name, info in signature.outputs.items() if name in wanted})
        feeds, fetches = signature.input_tensors, signature.output_tensors(wanted)
        specs = [s for info in self.inputs.values() for s in info.component_specs]
        targets = variant.graph.runnable(variant.graph.variant.update_ops, feeds) if update else []
        self.bound = BoundSubgraph(variant.state, f"signature {signature.name!r}", fetches, feeds, specs, targets)

    def __call__(
        self,
        inputs: Mapping[str, Any],
        watch: bool = True,
        gradients: bool = True,
        draw_seed: DrawSeed | None = None,
    ) -> dict[str, Any]:
        """Computes the outputs by name, of converted values by name; the rest is as in a call of the subgraph."""
        return pack_all(self.outputs, self.bound(flatten_all(self.inputs, inputs), watch, gradients, draw_seed))

    def call_to_save(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Computes the outputs while a SavedModel is traced, which the gradients are to travel with."""
        return pack_all(self.outputs, self.bound.call_to_save(flatten_all(self.inputs, inputs)))


class VariantFunctions:
    """All that one graph variant can compute, over the state of its module.

    Args:
        state: The variant's graph with its state.
    """

    def __init__(self, state: VariantState) -> None:
        self.state, self.graph = state, state.graph
        self._signatures: dict[tuple[str, tuple[str, ...], bool], SignatureFunction] = {}
        self._inputs: dict[str, dict[str, ParsedTensorInfo]] = {}

    @property
    def tags(self) -> frozenset[str]:
        """The tags of the variant."""
        return self.graph.variant.tags

    def signature(self, name: str) -> SignatureSpec:
        """Returns a signature.

        Raises:
            SignatureError: There is none of this name.
        """
        signatures = self.graph.variant.signatures
        if name not in signatures:
            raise SignatureError(
                f"Signature {name!r} is missing from module {self.graph.module}",
                expected=f"one of {sorted(signatures)} in the graph variant with tags {sorted(self.tags)}",
                received=repr(name),
            )
        return signatures[name]

    def inputs(self, name: str) -> dict[str, ParsedTensorInfo]:
        """Returns what a signature says about its inputs, by name.

        Raises:
            SignatureError: There is none of this name.
        """
        if name not in self._inputs:
            self._inputs[name] = parse_infos(self.signature(name).inputs)
        return self._inputs[name]

    def function(self, name: str, outputs: Sequence[str] | None = None, update: bool = False) -> SignatureFunction:
        """Returns the function of a signature, the same one each time.

        Args:
            name: Name of the signature.
            outputs: Names of the outputs to compute, None for all.
            update: Whether update ops run with it.
        """
        signature = self.signature(name)
        chosen = tuple(signature.outputs if outputs is None else outputs)
        # Without update ops, training and inference are one function: it is built once.
        key = (name, chosen, update and bool(self.graph.variant.update_ops))
        if key not in self._signatures:
            with BUILDING:
                made = SignatureFunction(self, signature, chosen, key[2])
                self._signatures.setdefault(key, made)  # another thread may have been first
        return self._signatures[key]

    def reached(self, name: str, outputs: Sequence[str] | None = None) -> set[str]:
        """Returns the names of the variables that a signature's outputs reach."""
        signature = self.signature(name)
        return self.graph.reached(signature.output_tensors(outputs), frozenset(signature.input_tensors))

    def is_random(self, name: str, outputs: Sequence[str] | None = None) -> bool:
        """Tells whether a signature's outputs draw at random without a seed of their own."""
        signature = self.signature(name)
        return self.graph.is_random(signature.output_tensors(outputs), frozenset(signature.input_tensors))

    @cached_property
    def regularization_losses(self) -> list[BoundSubgraph]:
        """Functions without inputs, one for each regularization loss."""
        losses = self.graph.variant.regularization_losses
        return [BoundSubgraph(self.state, f"regularization loss {name!r}", [name]) for name in losses]
