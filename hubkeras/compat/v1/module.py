"""`hub.Module` of TensorFlow 1: a module as part of a graph that a session runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar

import tensorflow as tf

from hubkeras.compat.v1.apply_graph import apply, in_tpu_function
from hubkeras.compat.v1.missing_ops import check_ops
from hubkeras.compat.v1.module_specs import load_module_spec
from hubkeras.compat.v1.scopes import free_state_scope
from hubkeras.compat.v1.state_graph import StateGraph
from hubkeras.compat.v1.tensorflow_errors import as_in_tensorflow
from hubkeras.errors import GraphError, HandleError, SignatureError, TagsError
from hubkeras.functions.tensor_info import parse_infos
from hubkeras.graphs.first_look import look_at
from hubkeras.graphs.tensorflow_internals import orders_all_ops
from hubkeras.modules.defaults import choose_output
from hubkeras.modules.export import write_graphs
from hubkeras.modules.inputs import normalize
from hubkeras.modules.spec import ModuleSpec
from hubkeras.modules.staging import new_directory
from hubkeras.modules.variants import choose_variant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from hubkeras.functions.tensor_info import ParsedTensorInfo
    from hubkeras.savedmodel.description import GraphVariant, SignatureSpec

M = TypeVar("M")


class Module:
    """A module in the graph of TensorFlow 1 that is being built, with state of its own.

    Making one adds the module's variables and tables to the graph, below a variable scope, and fills the usual
    collections: GLOBAL_VARIABLES, MODEL_VARIABLES, TABLE_INITIALIZERS, ASSET_FILEPATHS, and if it is trainable
    TRAINABLE_VARIABLES and REGULARIZATION_LOSSES. A call adds the ops of a signature, as often as wanted, and if the
    module is trainable adds to UPDATE_OPS. Initializing the variables gives them the values of the module.

    It works in a `tf.Graph`, in `tf.compat.v1.wrap_function`, in loops and branches of v1 control flow, and in the
    function given to `create_module_spec`. With eager execution use `hubkeras.load` or `hubkeras.KerasLayer` instead.

    Args:
        spec: A `ModuleSpec`, or a handle as `hubkeras.resolve` takes it.
        trainable: Whether the collections that training needs are filled.
        name: What its variable scope is to be called.
        tags: Tags of the graph variant; None is the variant without tags.
        safe_mode: Whether a module that a handle names is refused if it holds ops that reach out of the graph.
        allow_ops: Names of such ops that are allowed all the same.

    Raises:
        GraphError: There is no graph, since TensorFlow executes eagerly; or it is that of a `tf.function`.
        ScopeError: The name scope that goes with the variable scope is taken.
        TagsError: No graph variant has these tags.
        UnsafeModuleError: The module holds ops that nobody allowed.

    Example:
        >>> import tensorflow as tf
        >>> import hubkeras.compat.v1 as hub
        >>> with tf.Graph().as_default():
        ...     module = hub.Module("path/to/module")  # doctest: +SKIP
        ...     embeddings = module(["a text", "another one"])  # doctest: +SKIP
        ...     with tf.compat.v1.train.MonitoredSession() as session:  # doctest: +SKIP
        ...         print(session.run(embeddings).shape)  # doctest: +SKIP
        (2, 128)

    It reads the format "TF1 Hub" only, and a TF1 SavedModel through `create_module_spec_from_saved_model`.
    """

    def __init__(
        self,
        spec: str | os.PathLike[str] | ModuleSpec,
        trainable: bool = False,
        name: str = "module",
        tags: Iterable[str] | None = None,
        *,
        safe_mode: bool = True,
        allow_ops: Collection[str] = (),
    ) -> None:
        _refuse_eager_execution(spec)
        self._graph = tf.compat.v1.get_default_graph()
        _refuse_functions(self._graph)
        self._spec = as_module_spec(spec, safe_mode=safe_mode, allow_ops=allow_ops)
        self._variant = _variant(self._spec, tags)
        self._trainable = trainable
        check_ops(self._variant)
        look_at(self._spec.description, self._spec.policy)
        parent, _, self._name = free_state_scope(name).rpartition("/")
        # State does not wait for what the caller's ops wait for.
        outside = tf.init_scope() if in_tpu_function(self._graph) else tf.control_dependencies(None)
        with tf.name_scope(f"{parent}/" if parent else ""), outside:
            self._state = StateGraph(
                self._spec.description, self._variant, self._name, trainable, policy=self._spec.policy
            )

    def __call__(
        self,
        inputs: Any = None,
        _sentinel: None = None,
        signature: str | None = None,
        as_dict: bool | None = None,
    ) -> Any:
        """Adds the ops of a signature to the graph.

        Args:
            inputs: A dict with exactly the signature's keys; a bare value if it has one input; None if it has none.
                Python and numpy values are converted to the signature's dtypes; tensors must have these.
            _sentinel: Nothing: what follows is passed by name.
            signature: Name of the signature; None for the default one.
            as_dict: Whether all outputs are returned, by name, instead of the one named "default".

        Returns:
            A tensor (dense, sparse or ragged), or a dict of these.

        Raises:
            GraphError: It is called in another graph than that it was made in.
            SignatureError: There is no such signature.
            InputError: The inputs do not fit the signature.
            OutputError: There is no output "default".
        """
        if _sentinel is not None:
            raise TypeError(
                f"Only inputs= may be passed to a module by position. Received: {_sentinel!r} as the second argument. "
                "Write signature= before it."
            )
        if self._graph is not tf.compat.v1.get_default_graph():
            raise GraphError(
                "Module must be applied in the graph it was instantiated for",
                expected=f"{self._graph!r}",
                received=f"{tf.compat.v1.get_default_graph()!r}",
                fix="Make the module where it is applied. A branch of tf.cond and the body of tf.while_loop are graphs "
                "of their own unless tf.compat.v1.disable_control_flow_v2() was called first",
            )
        chosen = self._signature(signature)
        infos = dict(sorted(parse_infos(chosen.inputs).items()))
        _check_kinds(chosen.name, "input", infos)
        _check_kinds(chosen.name, "output", parse_infos(chosen.outputs))
        outputs = apply(
            self._spec.description,
            self._variant,
            chosen,
            normalize({} if inputs is None else inputs, infos, chosen.name),
            infos,
            self._state.tensors,
            name=f"{self._name}_apply_{chosen.name}",
            trainable=self._trainable,
            policy=self._spec.policy,
        )
        return chosen_output(outputs, as_dict)

    def get_signature_names(self) -> list[str]:
        """Returns the names of the signatures."""
        return self._spec.get_signature_names(self._variant.tags)

    def get_input_info_dict(self, signature: str | None = None) -> dict[str, ParsedTensorInfo]:
        """Returns what a signature says about its inputs, by name.

        Args:
            signature: Its name; None for the default one.
        """
        return self._spec.get_input_info_dict(signature, self._variant.tags)

    def get_output_info_dict(self, signature: str | None = None) -> dict[str, ParsedTensorInfo]:
        """Returns what a signature says about its outputs, by name.

        Args:
            signature: Its name; None for the default one.
        """
        return self._spec.get_output_info_dict(signature, self._variant.tags)

    def get_attached_message(self, key: str, message_type: type[M], required: bool = False) -> M | None:
        """Returns a message that the publisher attached, as `ModuleSpec.get_attached_message` does."""
        return self._spec.get_attached_message(key, message_type, self._variant.tags, required)

    def export(self, path: str | os.PathLike[str], session: tf.compat.v1.Session) -> None:
        """Writes the module in TF1 Hub format, with the values that its variables have in a session.

        All graph variants of the module are written, as its spec has them, and its assets.

        Args:
            path: A directory that does not exist yet, or is empty.
            session: A session of the graph that the module is in.

        Raises:
            GraphError: The default graph, or the session's, is another one than the module's.
            ExportExistsError: There is something at `path`.
            ExportError: It could not be written; nothing is left behind.
        """
        for whose, graph in (("default", tf.compat.v1.get_default_graph()), ("session", session.graph)):
            if graph is not self._graph:
                raise GraphError(
                    f"{whose} graph differs from the graph where the module was instantiated",
                    expected=f"{self._graph!r}",
                    received=f"{graph!r}",
                    fix="Export within `with graph.as_default():`, with a session of that graph",
                )
        description = self._spec.description
        with as_in_tensorflow(), new_directory(os.fsdecode(path), f"module {description.label}") as staging:
            write_graphs(description, staging)
            self._state.save_variables(str(staging / "variables" / "variables"), session)

    @property
    def variable_map(self) -> Mapping[str, Any]:
        """The variables by their names in the module, without scopes; a list of its parts for a partitioned one.

        It serves as `assignment_map` of `tf.compat.v1.train.init_from_checkpoint`, and as `var_list` of a saver.
        """
        return self._state.variable_map

    @property
    def variables(self) -> list[tf.Variable]:
        """All variables in the order of their names in the module."""
        found = []
        for _, value in sorted(self.variable_map.items()):
            found += value if isinstance(value, list) else [value]
        return found

    def __repr__(self) -> str:
        tags = sorted(self._variant.tags)
        return f"<hubkeras.compat.v1 module {self._name!r}: {self._spec.description.label} with tags {tags}>"

    def _signature(self, name: str | None) -> SignatureSpec:
        chosen = self._spec.signature_name(name or None, self._variant.tags)
        return self._variant.signatures[chosen]


def as_module_spec(spec: Any, *, safe_mode: bool = True, allow_ops: Collection[str] = ()) -> ModuleSpec:
    """Returns the spec that a user means: one, or a handle.

    Raises:
        HandleError: It is neither.
    """
    if isinstance(spec, ModuleSpec):
        return spec
    if isinstance(spec, (str, os.PathLike)):
        return load_module_spec(spec, safe_mode=safe_mode, allow_ops=allow_ops)
    raise HandleError(
        f"Unknown module spec type: {type(spec)}",
        expected="a ModuleSpec, or a handle (a text or a path)",
        received=repr(spec),
        fix="Make one with create_module_spec or load_module_spec",
    )


def chosen_output(outputs: dict[str, Any], as_dict: bool | None) -> Any:
    """Returns all outputs, or the one named "default".

    Raises:
        OutputError: It is asked for and not there.
    """
    if as_dict:
        return outputs
    return outputs[choose_output(None, outputs, "the signature", fix="Use as_dict=True.", or_only=False)]


def _variant(spec: ModuleSpec, tags: Iterable[str] | None) -> GraphVariant:
    try:
        return choose_variant(spec.description, tags or ())
    except TagsError as error:
        shown = tags if tags is None or isinstance(tags, str) else sorted(tags)
        raise TagsError(
            f"No such graph variant: tags={shown!r} of module {spec.description.label}",
            expected=f"tags= one of {[sorted(t) for t in spec.get_tags()]}",
            received=f"tags={shown!r}",
        ) from error


def _check_kinds(signature: str, role: str, infos: Mapping[str, ParsedTensorInfo]) -> None:
    """Refuses a signature whose values are composed in a way that nothing can feed or return."""
    for name, info in sorted(infos.items()):
        if not info.is_supported_type:
            kind = info.type_spec.value_type.__name__
            raise SignatureError(
                f"Signature {signature!r} expects a {kind} for {role} {name!r}, which is not supported",
                expected="signatures with values of type Tensor, SparseTensor or RaggedTensor",
                received=f"{info.type_spec}",
            )


def _refuse_eager_execution(spec: Any) -> None:
    if tf.executing_eagerly():
        handle = repr(os.fspath(spec)) if isinstance(spec, (str, os.PathLike)) else "spec"
        raise GraphError(
            "hub.Module is not supported when eager execution is enabled: there is no graph to add it to",
            expected="a call within `with tf.Graph().as_default():`",
            received="a call under eager execution",
            fix=f"In TensorFlow 2 write module = hubkeras.load({handle}) and module(x), or in a Keras model "
            f"hubkeras.KerasLayer({handle}, trainable=True); a program that stays in TensorFlow 1 can call "
            "tf.compat.v1.disable_eager_execution() when it starts",
        )


def _refuse_functions(graph: tf.Graph) -> None:
    """Refuses the graph of a function that runs all that is in it: placeholders that nobody feeds, and savers."""
    if orders_all_ops(graph) and not in_tpu_function(graph):
        raise GraphError(
            f"hub.Module is not supported in the function {getattr(graph, 'name', '')!r}: all of its ops would run",
            expected="a call within `with tf.Graph().as_default():`, or in tf.compat.v1.wrap_function",
            received="a call in a tf.function, or in a function of tf.data",
            fix="Write module = hubkeras.load(...) outside of the function, and module(x) in it",
        )
