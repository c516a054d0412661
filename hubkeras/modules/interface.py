"""What a module and a module that is only described say about themselves, in one set of methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from hubkeras.errors import AttachmentError
from hubkeras.functions.tensor_info import ParsedTensorInfo, parse_infos
from hubkeras.modules.defaults import choose_signature
from hubkeras.modules.variants import choose_variant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hubkeras.savedmodel.description import GraphVariant, ModuleDescription, SignatureSpec, Tags

M = TypeVar("M")


class DescribedModule:
    """Methods that tell what a module holds, from its description alone.

    A class that has them sets `_description`, and `_tags` to the tags that None stands for.
    """

    _description: ModuleDescription
    _tags: Tags

    @property
    def description(self) -> ModuleDescription:
        """The module as it was read or made."""
        return self._description

    def signature_name(self, signature: str | None, tags: Iterable[str] | None = None) -> str:
        """Returns the signature's name; None becomes the default signature's.

        Raises:
            SignatureError: There is no such signature, or none that could be the default.
        """
        names = self._variant(tags).signatures
        return choose_signature(signature, names, f"module {self._description.label}")

    def get_tags(self) -> list[Tags]:
        """Returns the tag set of every graph variant: a subset before its supersets, else in the order of the file."""
        # As the original sorted them. Sets compare by inclusion: of two that differ otherwise, neither comes first.
        return sorted(self._description.tag_sets)

    def get_signature_names(self, tags: Iterable[str] | None = None) -> list[str]:
        """Returns the names of the signatures of a graph variant.

        Args:
            tags: Of the variant; None for the default ones.

        Raises:
            TagsError: No variant has these tags.
        """
        return list(self._variant(tags).signatures)

    def get_input_info_dict(
        self, signature: str | None = None, tags: Iterable[str] | None = None
    ) -> dict[str, ParsedTensorInfo]:
        """Returns what a signature says about its inputs, by name.

        Args:
            signature: Its name; None for the default one.
            tags: Of the graph variant; None for the default ones.
        """
        return parse_infos(self._signature(signature, tags).inputs)

    def get_output_info_dict(
        self, signature: str | None = None, tags: Iterable[str] | None = None
    ) -> dict[str, ParsedTensorInfo]:
        """Returns what a signature says about its outputs, by name.

        Args:
            signature: Its name; None for the default one.
            tags: Of the graph variant; None for the default ones.
        """
        return parse_infos(self._signature(signature, tags).outputs)

    def get_attached_message(
        self, key: str, message_type: type[M], tags: Iterable[str] | None = None, required: bool = False
    ) -> M | None:
        """Returns a message that the publisher attached to a graph variant.

        Args:
            key: The key it is attached under.
            message_type: The class of the protocol buffer.
            tags: Of the variant; None for the default ones.
            required: Whether a missing message is an error.

        Returns:
            The message, or None.

        Raises:
            AttachmentError: The message is required and not there.
        """
        variant = self._variant(tags)
        if key in variant.attachments:
            message = message_type()
            message.ParseFromString(variant.attachments[key])  # pyright: ignore[reportAttributeAccessIssue]
            return message
        if required:
            raise AttachmentError(
                f"No message is attached under {key!r} in the graph variant with tags {sorted(variant.tags)}",
                expected=f"one of {sorted(variant.attachments)}",
                received=repr(key),
            )
        return None

    def _signature(self, signature: str | None, tags: Iterable[str] | None) -> SignatureSpec:
        return self._variant(tags).signatures[self.signature_name(signature, tags)]

    def _variant(self, tags: Iterable[str] | None) -> GraphVariant:
        return choose_variant(self._description, self._tags if tags is None else tags)
