"""The programs that a summary prints run as they stand, for every module there is."""

import contextlib
import io
from pathlib import Path

import pytest

import hubkeras
from hubkeras.cli.demo import MODULE

GOLDEN = Path(__file__).parents[1] / "golden" / "modules"
pytestmark = pytest.mark.filterwarnings("ignore:The structure of `inputs` doesn't match:UserWarning")


@pytest.mark.parametrize("path", [*sorted(GOLDEN.iterdir()), MODULE], ids=lambda path: path.name)
def test_programs_run(path):
    """All programs of a module, each by itself."""
    programs = hubkeras.describe(path).code
    assert "eager" in programs
    for name, program in programs.items():
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(program, f"<{path.name} {name}>", "exec"), {})
        assert printed.getvalue() or name == "fine_tuning"


def test_names_of_strangers_stay_texts(tmp_path):
    """A handle and names with quotes cannot leave their literals."""
    from savedmodel.builder import meta_graph, placeholder, write_module

    evil = "x'); raise SystemExit('out')  # \"\"\""
    signatures = {evil: ({evil: "x:0"}, {evil: "x:0"})}
    path = tmp_path / "it's a module"
    write_module(path, meta_graph([placeholder("x")], signatures=signatures))
    for program in hubkeras.describe(path).code.values():
        with contextlib.redirect_stdout(io.StringIO()):
            exec(program, {})


def test_what_is_trained_has_a_program_for_it():
    """The demo's module has all three; what has no variables is not fine-tuned."""
    assert set(hubkeras.describe(MODULE).code) == {"eager", "keras", "fine_tuning"}
    assert "fine_tuning" not in hubkeras.describe(GOLDEN / "tables_v1").code


@pytest.mark.parametrize("rank", [1, -1, 1 << 40])
def test_a_ragged_rank_is_held_to_the_tensors(rank):
    from hubkeras.inspection.example_values import for_inputs
    from hubkeras.savedmodel.description import TensorInfo
    from hubkeras.savedmodel.protos import TypeSpecProto

    spec = TypeSpecProto()
    spec.type_state.tuple_value.values.add().int64_value = rank
    info = TensorInfo("x", "string", (None, None), "ragged", ("x:0", "x:1"), spec.SerializeToString())
    assert (for_inputs({"x": info}, [], None) is not None) == (rank == 1)
