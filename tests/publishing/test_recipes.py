"""What the golden modules were made from, published by hubkeras: it computes and trains as they do."""

import dataclasses

import pytest
import test_golden
from parity import variants

from publishing import recipes

VARIANTS = [v for v in variants("tf1_hub") if v.record.name not in recipes.UNAVAILABLE]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    written = recipes.publish(folder)
    assert written == {v.record.name for v in VARIANTS}
    return folder


@pytest.fixture
def variant(request, published):
    """A golden variant whose module is the one that hubkeras published."""
    record = dataclasses.replace(request.param.record, path=published / request.param.record.name)
    return dataclasses.replace(request.param, record=record)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.id, indirect=True)
def test_published_is_what_the_original_published(variant, tmp_path):
    """Initial values, signatures, outputs, gradients and five steps of training are those of the golden one."""
    test_golden.test_signatures(variant)
    test_golden.test_variables(variant)
    test_golden.test_image_information(variant)
    test_golden.test_outputs(variant)
    if "final" in variant.entry.get("training", {}):
        test_golden.test_training(variant, tmp_path)
