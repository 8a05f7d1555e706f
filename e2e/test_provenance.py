"""Where outputs come from, in the forms of other programs, held against those forms' own validators."""

import io
import json
from pathlib import Path

import pytest
import urllib3

from test_repro import project, step_run  # noqa: F401

pytestmark = pytest.mark.service


@pytest.fixture
def made(project):
    return project, project.json("run", "work")


def facet_classes():
    import attr
    from openlineage.client import facet_v2
    from openlineage.client.generated import base

    found = {}
    for module in vars(facet_v2).values():
        for name, cls in vars(module).items() if hasattr(module, "__spec__") else []:
            if isinstance(cls, type) and attr.has(cls) and issubclass(cls, base.BaseFacet):
                found[name] = cls
    return found


def through_the_client(classes, facets):
    """The facets as the client's own classes write them: unknown fields are refused by them."""
    from openlineage.client.serde import Serde

    said = {}
    for name, facet in (facets or {}).items():
        cls = classes[facet["_schemaURL"].rsplit("/", 1)[1]]
        fields = {key: value for key, value in facet.items() if not key.startswith("_")}
        written = Serde.to_dict(cls(**fields))
        assert written["_schemaURL"] == facet["_schemaURL"], name
        said[name] = {key: value for key, value in written.items() if key in facet} | {"_producer": facet["_producer"]}
    return said


def test_openlineage_events_are_what_its_own_client_would_write(made):
    pytest.importorskip("openlineage.client")
    from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
    from openlineage.client.serde import Serde

    rondo, ran = made
    lines = rondo("export", "--to", "openlineage", "--of", ran["run"]).stdout.splitlines()
    events = [json.loads(line) for line in lines]
    assert [(e["job"]["name"], e["eventType"]) for e in events][:2] == [("rondo run", "START"), ("keep", "START")]
    assert len(events) == 6
    classes = facet_classes()
    for event in events:
        run, job = event["run"], event["job"]
        client = RunEvent(
            eventType=RunState(event["eventType"]),
            eventTime=event["eventTime"],
            producer=event["producer"],
            run=Run(runId=run["runId"], facets=through_the_client(classes, run["facets"])),
            job=Job(namespace=job["namespace"], name=job["name"], facets=through_the_client(classes, job["facets"])),
            inputs=[
                InputDataset(namespace=one["namespace"], name=one["name"], facets=through_the_client(classes, one["facets"]))
                for one in event["inputs"]
            ],
            outputs=[
                OutputDataset(
                    namespace=one["namespace"], name=one["name"], facets=through_the_client(classes, one["facets"]),
                    outputFacets=through_the_client(classes, one["outputFacets"]),
                )
                for one in event["outputs"]
            ],
        )
        written = json.loads(Serde.to_json(client))
        # The client leaves out nothing that we write, and names the same schema.
        assert written["schemaURL"] == event["schemaURL"]
        for side in ["inputs", "outputs"]:
            for one in written[side]:
                one.pop("inputFacets", None)
        assert written == event
    rows = next(one for e in events for one in e["inputs"] if one["name"] == "rows")
    assert [field["name"] for field in rows["facets"]["schema"]["fields"]] == ["a", "b"]


def test_statements_are_valid_for_in_toto_and_slsa(made, tmp_path):
    pytest.importorskip("in_toto_attestation")
    import hashlib

    import google.protobuf.json_format as pb_json
    import in_toto_attestation.v1.statement_pb2 as spb
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
    from in_toto_attestation.v1.statement import Statement

    rondo, ran = made
    target = tmp_path / "statement.json"
    rondo("export", "--to", "slsa", "--of", ran["run"][:12], str(target))
    said = json.loads(target.read_text())
    assert said == rondo.json("export", "--to", "slsa", "--of", ran["run"])
    Statement.copy_from_pb(pb_json.ParseDict(said, spb.Statement())).validate()
    # Unknown or ill-typed fields are refused.
    parsed = pb_json.ParseDict(said["predicate"], provenance_pb2.Provenance())
    assert parsed.build_definition.build_type and parsed.run_details.builder.id
    digests = {one["name"]: one["digest"]["sha256"] for one in said["subject"]}
    assert digests["work/sums"] == hashlib.sha256((rondo.folder / "sums.json").read_bytes()).hexdigest()


@pytest.fixture
def contexts(monkeypatch):
    """The web, as far as the validator needs it: RO-Crate's own context, as its Python library ships it."""
    rocrate = pytest.importorskip("rocrate")
    import requests

    text = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_bytes()
    assert json.loads(text)["@id"] == "https://w3id.org/ro/crate/1.1/context"

    def send(_, request, **__):
        if not request.url.startswith("https://w3id.org/ro/crate/1.1/context"):
            raise requests.ConnectionError(f"the test has no {request.url}")
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = 200, request, request.url
        answer.headers["Content-Type"] = "application/ld+json"
        answer.raw = urllib3.HTTPResponse(io.BytesIO(text), headers=answer.headers, status=200, preload_content=False)
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)


@pytest.mark.parametrize("what", ["pipeline", "step"])
def test_crates_are_valid_for_their_own_validator(made, contexts, tmp_path, what):
    pytest.importorskip("rocrate_validator")
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings

    rondo, ran = made
    run, profile = (ran["run"], "workflow-run-crate") if what == "pipeline" else (
        step_run(rondo, ran, "work"), "process-run-crate"
    )
    crate = tmp_path / "crate"
    rondo("export", "--to", "ro-crate", "--of", run, str(crate))

    def problems():
        settings = ValidationSettings(
            rocrate_uri=str(crate), profile_identifier=profile, requirement_severity=Severity.REQUIRED, no_cache=True,
        )
        result = services.validate(settings)
        return [f"{issue.check.identifier}: {issue.message}" for issue in result.get_issues()]

    assert problems() == []
    # The validator does look: without the instrument of its actions a crate is none of this profile.
    metadata = crate / "ro-crate-metadata.json"
    said = json.loads(metadata.read_text())
    for entity in said["@graph"]:
        entity.pop("instrument", None)
    metadata.write_text(json.dumps(said))
    assert problems() != []
    assert (crate / "outputs/work/sums").read_text() == (rondo.folder / "sums.json").read_text()
    rondo("export", "--to", "ro-crate", "--of", run, str(crate), code=2)
    rondo("export", "--to", "slsa", code=2)
    rondo("export", "--to", "slsa", "--of", "ffffffffff", code=3)
