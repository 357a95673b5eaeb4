"""A bundle loads whole and unchanged, or not at all."""

import hashlib
import json
import os

import pytest

from engines.bundle import (
    MANIFEST,
    MANIFEST_HASH,
    BundleError,
    default_model,
    embedded_model,
    embedded_models,
    load_model,
    write_manifest,
)


@pytest.fixture
def bundle(make_model, spec, tmp_path):
    folder = tmp_path / "bundle"
    (folder / "answers").mkdir(parents=True)
    make_model().rename(folder / "tiny.onnx")
    (folder / "answers" / "1.dcm").write_bytes(bytes(range(256)))
    write_manifest(folder, "tiny.onnx", spec)
    return folder


def rewritten(folder, **fields):
    """A manifest that was changed by somebody who also made its hash fit."""
    text = json.dumps(json.loads((folder / MANIFEST).read_text()) | fields).encode()
    (folder / MANIFEST).write_bytes(text)
    (folder / MANIFEST_HASH).write_text(f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n")
    return folder


def test_bare_onnx(make_model, spec):
    path = make_model()
    model = load_model(path)
    assert model.spec == spec
    assert model.content == path.read_bytes()
    assert model.digest == hashlib.sha256(model.content).hexdigest()


@pytest.mark.parametrize("path", embedded_models(), ids=lambda path: path.stem)
def test_no_model_that_ships_is_a_product(path):
    model = load_model(path)
    assert model.spec.intended_use in ("placeholder", "demonstration")
    assert model.spec.notice


def test_densitometry_is_a_placeholder():
    model = load_model(embedded_model("densitometry"))
    assert (model.spec.name, model.spec.intended_use) == ("densitometry", "placeholder")
    assert model.spec.notice.startswith("not CSAC-Net")


def test_the_default_is_one_of_those_that_ship():
    assert default_model() in embedded_models()


def test_bundle(bundle, spec):
    model = load_model(bundle)
    assert model.spec == spec
    assert model.path == bundle / "tiny.onnx"
    assert model.digest == hashlib.sha256((bundle / "tiny.onnx").read_bytes()).hexdigest()


def test_sha256sum_can_check_the_manifest(bundle):
    digest = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
    assert (bundle / MANIFEST_HASH).read_text() == f"{digest}  manifest.json\n"


@pytest.mark.parametrize("name", ["tiny.onnx", "answers/1.dcm", MANIFEST, MANIFEST_HASH])
def test_one_flipped_bit_anywhere(bundle, name):
    intact = (bundle / name).read_bytes()
    for position in {0, len(intact) // 3, len(intact) // 2, len(intact) - 1}:
        flipped = bytearray(intact)
        flipped[position] ^= 1
        (bundle / name).write_bytes(flipped)
        with pytest.raises(BundleError, match="was changed after it was built"):
            load_model(bundle)
    (bundle / name).write_bytes(intact)
    load_model(bundle)


def test_truncated_and_grown_files(bundle):
    file = bundle / "tiny.onnx"
    intact = file.read_bytes()
    for content in (b"", intact[:-1], intact + b"\0"):
        file.write_bytes(content)
        with pytest.raises(BundleError, match=r"tiny\.onnx does not match its SHA-256"):
            load_model(bundle)


def test_added_file(bundle):
    (bundle / "answers" / "2.dcm").write_bytes(b"")
    with pytest.raises(BundleError, match=r"answers/2\.dcm is not in the manifest"):
        load_model(bundle)


@pytest.mark.parametrize("name", ["tiny.onnx", "answers/1.dcm"])
def test_removed_file(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_model(bundle)


@pytest.mark.parametrize("name", [MANIFEST, MANIFEST_HASH])
def test_without_manifest(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"is no bundle: it has no {name}"):
        load_model(bundle)


def test_symlinks_are_refused_even_to_the_same_bytes(bundle, tmp_path):
    (bundle / "answers" / "1.dcm").rename(tmp_path / "1.dcm")
    (bundle / "answers" / "1.dcm").symlink_to(tmp_path / "1.dcm")
    with pytest.raises(BundleError, match="not a regular file"):
        load_model(bundle)


def test_linked_folders_are_refused(bundle, tmp_path):
    (bundle / "answers").rename(tmp_path / "answers")
    (bundle / "answers").symlink_to(tmp_path / "answers", target_is_directory=True)
    with pytest.raises(BundleError, match="not a regular file"):
        load_model(bundle)


def test_pipes_are_refused_and_not_opened(bundle):
    os.mkfifo(bundle / "pipe")
    with pytest.raises(BundleError, match="not a regular file"):
        load_model(bundle)


@pytest.mark.parametrize("name", ["../tiny.onnx", "{outside}", "answers/../../tiny.onnx", "./tiny.onnx", ""])
def test_names_that_lead_out_of_the_bundle(bundle, tmp_path, name):
    outside = tmp_path / "tiny.onnx"
    outside.write_bytes((bundle / "tiny.onnx").read_bytes())
    (bundle / "tiny.onnx").unlink()
    name = name.format(outside=outside)
    files = json.loads((bundle / MANIFEST).read_text())["files"]
    files[name] = files.pop("tiny.onnx")
    with pytest.raises(BundleError, match="is missing"):
        load_model(rewritten(bundle, model=name, files=files))


def test_model_that_the_manifest_does_not_list(bundle):
    with pytest.raises(BundleError, match=r"the model 'other\.onnx' is not among the files"):
        load_model(rewritten(bundle, model="other.onnx"))


def test_other_specification_than_the_model_carries(bundle, spec):
    other = spec.model_copy(update={"operating_point": 0.01}).model_dump(mode="json")
    with pytest.raises(BundleError, match="is not the manifest's"):
        load_model(rewritten(bundle, spec=other))


def test_manifest_of_another_version(bundle):
    with pytest.raises(BundleError, match="manifest of bundle bundle is not valid: schema_version"):
        load_model(rewritten(bundle, schema_version=2))


def test_missing_model(tmp_path):
    with pytest.raises(BundleError, match=r"no\.onnx cannot be read \(No such file or directory\)"):
        load_model(tmp_path / "no.onnx")


def test_file_that_is_not_onnx(tmp_path):
    path = tmp_path / "picture.onnx"
    path.write_bytes(b"\x89PNG")
    with pytest.raises(BundleError, match=r"picture\.onnx is not an ONNX model"):
        load_model(path)


def test_onnx_without_specification(make_model, tmp_path):
    import onnx

    model = onnx.load(make_model())
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    with pytest.raises(BundleError, match=r"bare\.onnx: the model carries no specification"):
        load_model(tmp_path / "bare.onnx")


def test_weights_outside_of_the_hash(make_model, tmp_path, monkeypatch):
    """ONNX Runtime would take them from the folder that the process is in."""
    import onnx

    onnx.save(
        onnx.load(make_model()),
        tmp_path / "split.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match=r"split\.onnx keeps weights in weights\.bin, outside of its hash"):
        load_model(tmp_path / "split.onnx")


def test_properties_that_are_no_text(make_model, tmp_path):
    path = tmp_path / "odd.onnx"
    content = make_model().read_bytes()
    assert content.count(b'"population"') == 1
    path.write_bytes(content.replace(b'"population"', b'"popula\xffion"'))
    with pytest.raises(BundleError):
        load_model(path)
