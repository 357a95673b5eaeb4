"""What tells who the patient is goes in with every file, and must come out nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import httpx
import pydicom
import pytest
from harness import Appliance
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from appliance.web.assets import page

SmallChest = Callable[[str], list[Path]]

IN_TAGS = "ZQXPLANT"
IN_NAMES = "WVJPLANT"
BORN = "19070829"
SECRETS = (IN_TAGS, IN_NAMES, BORN, "1907-08-29")

TEXT = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
NEEDED = (
    "ImageType",
    "Modality",
    "PatientPosition",
    "PhotometricInterpretation",
    "RescaleType",
    "SpecificCharacterSet",
)
"""Without these no series would be read; others have them planted too."""

MORE = {
    "AccessionNumber": f"{IN_TAGS}0042",
    "AdditionalPatientHistory": f"{IN_TAGS} history",
    "ConvolutionKernel": f"{IN_TAGS}40f",
    "ImageComments": f"{IN_TAGS} comment",
    "InstitutionName": f"{IN_TAGS} hospital",
    "OperatorsName": f"{IN_TAGS}^operator",
    "OtherPatientIDs": f"{IN_TAGS}1",
    "PatientAddress": f"{IN_TAGS} street",
    "PatientID": f"{IN_TAGS}2",
    "PatientName": f"{IN_TAGS}^Jane",
    "ProtocolName": f"{IN_TAGS} chest",
    "ReferringPhysicianName": f"{IN_TAGS}^doctor",
    "RequestedProcedureDescription": f"{IN_TAGS} asked",
    "SeriesDescription": f"{IN_TAGS} lung",
    "StationName": f"{IN_TAGS}CT1",
    "StudyDescription": f"{IN_TAGS} thorax",
    "StudyID": f"{IN_TAGS}3",
}


def plant(dataset: Dataset, needed: tuple[str, ...] = NEEDED) -> None:
    """Secrets in all text that there is, and in more that might be."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                plant(item, needed)
        elif element.VR in TEXT and element.keyword not in needed:
            element.value = IN_TAGS
    for keyword, value in MORE.items():
        setattr(dataset, keyword, value)
    dataset.PatientBirthDate = BORN
    block = dataset.private_block(0x0099, IN_TAGS, create=True)
    block.add_new(0x01, "LO", f"{IN_TAGS} private")
    block.add_new(0x02, "UN", f"{IN_TAGS} bytes".encode())
    item = Dataset()
    item.CodeMeaning, item.CodeValue, item.CodingSchemeDesignator = f"{IN_TAGS} code", IN_TAGS, IN_TAGS
    dataset.RequestAttributesSequence = [item]


def export(chest: list[Path], folder: Path, change: Callable[[Dataset, int], None] = lambda *_: None) -> None:
    """A study of its own, planted, into the export folder under names that tell a name too."""
    folder.mkdir(parents=True)
    study, series = generate_uid(), generate_uid()
    for number, file in enumerate(chest):
        dataset = pydicom.dcmread(file)
        plant(dataset)
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.file_meta.SourceApplicationEntityTitle = IN_TAGS
        change(dataset, number)
        dataset.save_as(folder / f"{IN_NAMES}-{number}.dcm")


def odd_slice(keyword: str, value: object) -> Callable[[Dataset, int], None]:
    """One slice of the series has another value."""

    def change(dataset: Dataset, number: int) -> None:
        if number == 5:
            setattr(dataset, keyword, value)

    return change


def every_slice(keyword: str, value: object) -> Callable[[Dataset, int], None]:
    return lambda dataset, _: setattr(dataset, keyword, value)


def cut_pixels(dataset: Dataset, number: int) -> None:
    if number == 5:
        dataset.PixelData = dataset.PixelData[:100]


@pytest.mark.slow
def test_nothing_that_tells_who_the_patient_is_comes_out(tmp_path: Path, small_chest: SmallChest) -> None:
    appliance = Appliance(tmp_path, log_level="debug", known_answer_interval_s=5.0)
    names = appliance.export_folder / f"{IN_NAMES}^Jane"
    names.mkdir()
    covid, clear = small_chest("covid"), small_chest("clear")
    with appliance:
        export(covid, names / "flagged")
        export(clear, names / "no flag")
        export(covid[:10] + covid[11:], names / "missing slice")
        export(covid, names / "two patients", odd_slice("PatientID", f"{IN_TAGS} other"))
        export(covid, names / "cut", cut_pixels)
        export(covid[:20], names / "modality", every_slice("Modality", IN_TAGS))
        export(covid[:20], names / "image type", every_slice("ImageType", [IN_TAGS, IN_TAGS, IN_TAGS]))
        export(covid[:20], names / "photometric", every_slice("PhotometricInterpretation", IN_TAGS))
        export(covid[:3], names / "character set", every_slice("SpecificCharacterSet", IN_TAGS))
        (names / f"{IN_NAMES}.txt").write_text(f"{IN_TAGS} {BORN}")
        # What says to be DICOM and is not.
        (names / f"{IN_NAMES}.dcm").write_bytes(bytes(128) + b"DICM" + IN_TAGS.encode() * 100)
        appliance.wait_for_findings(9, 90)
        appliance.wait("nothing is in flight", lambda: not appliance.status()["in_progress"], 60)
        assert {one["outcome"] for one in appliance.findings()} >= {"flagged", "not_flagged", "not_analysed"}
        told = dict(everything(appliance))
        assert len(told) > 30
        assert appliance.stop() == 0
    told["log"] = appliance.log.read_bytes()
    told["audit log"] = (appliance.state / "audit.log").read_bytes()
    assert b"0042" in told["/api/studies"]
    for where, content in told.items():
        found = [secret for secret in SECRETS if secret.lower().encode() in content.lower()]
        assert not found, f"{found} in {where}: {content[:2000]!r}"
    for path in [*appliance.results.iterdir(), *(appliance.state / "objects").iterdir()]:
        result(path)


def everything(appliance: Appliance) -> Iterator[tuple[str, bytes]]:
    """All that the web tells, by address."""
    with httpx.Client(base_url=appliance.url, timeout=20) as client:

        def get(path: str) -> httpx.Response:
            return client.get(path)

        studies = get("/api/studies?limit=200").json()
        paths = [
            *page(),
            "/metrics",
            "/healthz",
            "/readyz",
            "/api/status",
            f"/api/status?station={IN_TAGS}CT1",
            "/api/series?limit=1000",
            "/api/studies",
            "/api/studies?open=yes",
            "/api/studies?outcome=x",
            "/api/studies/999999",
            "/api/codes",
            "/api/person",
        ]
        for study in studies:
            paths.append(f"/api/studies/{study['study']}")
            for series in get(paths[-1]).json()["series"]:
                where = f"{paths[-1]}/series/{series['id']}"
                paths += [f"{where}/images", f"{where}/slices/20.png", f"{where}/slices/20.png?heat=yes"]
        assert any(get(path).headers["content-type"] == "image/png" for path in paths)
        for path in dict.fromkeys(paths):
            answer = get(path)
            yield path, answer.content + repr(answer.headers).encode()
        for query in ("", f"?station={IN_TAGS}CT1"):
            with client.stream("GET", f"/events{query}") as stream:
                yield f"/events{query}", "\n".join(islice(stream.iter_lines(), 9)).encode()
        action = {"X-Scanlight": "1"}
        for study in studies:
            for what in ("acknowledge", "seen"):
                path = f"/api/studies/{study['study']}/{what}"
                yield path, client.post(path, json={"name": "Dr. Example"}, headers=action).content
        path = f"/api/studies/{studies[0]['study']}/retry"
        yield path, client.post(path, json={"name": "Dr. Example"}, headers=action).content


def result(path: Path) -> None:
    """In the results, only what is there to say which file was meant may name it."""
    assert not any(secret.lower() in path.name.lower() for secret in SECRETS)
    content = path.read_bytes()
    if path.suffix == ".json":
        record = json.loads(content)
        said = {record.pop("path"), record.pop("detail")} - {None}
        content = json.dumps(record, ensure_ascii=False).encode()
        for text in said:
            assert IN_TAGS not in text, text
            assert BORN not in text
    for secret in SECRETS:
        assert secret.lower().encode() not in content.lower(), content
