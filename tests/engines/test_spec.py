"""The specification in ONNX metadata: what is written is read, and what is wrong is said."""

import json

import pytest

from engines.spec import METADATA_KEY, ModelSpec, SpecError, from_metadata, to_metadata


def changed(spec: ModelSpec, **fields: object) -> dict[str, str]:
    return {METADATA_KEY: json.dumps(spec.model_dump(mode="json") | fields)}


def test_round_trip(spec):
    full = spec.model_copy(update={"heatmap": "map", "notice": "not CSAC-Net", "class_index": 2})
    assert from_metadata(to_metadata(full)) == full
    assert from_metadata({"producer": "someone"} | to_metadata(spec)) == spec


def test_no_specification():
    with pytest.raises(SpecError, match=r"carries no specification.*'scanlight\.spec'"):
        from_metadata({"producer": "someone"})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"layout": "DHWNC"}, "layout: input should be 'NCDHW' or 'NDHWC'"),
        ({"unit": "mGy"}, "unit: input should be 'HU'"),
        ({"operating_point": 1.5}, "operating_point: input should be less than 1"),
        ({"class_index": -1}, "class_index: input should be greater than or equal to 0"),
        ({"intended_use": "fun"}, "intended_use: input should be 'placeholder'"),
        (
            {"grid": {"size": [0, 8, 8], "spacing_mm": [5, 3, 3]}},
            "grid: size and spacing_mm must be positive",
        ),
        ({"grid": {"size": [4, 8, 8]}}, r"grid\.spacing_mm: field required"),
        ({"accepted": {"kernels": ["smooth"]}}, r"accepted\.kernels\.0: input should be 'soft'"),
        ({"colour": "red"}, "colour: extra inputs are not permitted"),
    ],
)
def test_each_mistake_is_named(spec, fields, said):
    with pytest.raises(SpecError, match=said):
        from_metadata(changed(spec, **fields))


def test_all_mistakes_at_once_in_one_sentence(spec):
    with pytest.raises(SpecError) as caught:
        from_metadata(changed(spec, layout="DHWNC", operating_point=0, name=""))
    message = str(caught.value)
    assert all(f"{field}: " in message for field in ("layout", "operating_point", "name"))
    assert "\n" not in message


def test_text_that_is_not_json():
    with pytest.raises(SpecError, match="not valid: invalid JSON"):
        from_metadata({METADATA_KEY: "{"})
