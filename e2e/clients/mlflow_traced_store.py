"""Makes traces in a store of MLflow's (`make URI`), or shows those of one (`dump URI`): for `test_import.py`."""

import json
import sys

import mlflow
from mlflow.entities import AssessmentSource, SpanEvent


def make():
    mlflow.set_experiment("traced")
    with mlflow.start_run():
        with mlflow.start_span("root", span_type="CHAIN") as root:
            root.set_inputs({"question": "hi", "n": 1.5})
            with mlflow.start_span("child", span_type="LLM") as child:
                child.set_attribute("list", [1, 2])
                child.set_outputs("yes")
                child.add_event(SpanEvent("seen", attributes={"a": 1}))
            root.set_outputs({"answer": [1, None]})
    trace = mlflow.get_last_active_trace_id()
    if hasattr(mlflow, "flush_trace_async_logging"):
        mlflow.flush_trace_async_logging()
    human = AssessmentSource("HUMAN", "ada")
    first = mlflow.log_feedback(trace_id=trace, name="good", value=True, rationale="why", source=human, metadata={"x": "y"})
    mlflow.log_expectation(trace_id=trace, name="expected", value={"a": 1})
    mlflow.override_feedback(trace_id=trace, assessment_id=first.assessment_id, value=False)
    mlflow.log_feedback(trace_id=trace, name="failed", error=ValueError("boom"))


def dump():
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("traced").experiment_id
    shown = []
    # A client of a server does not read whether an expectation counts.
    for found in client.search_traces([experiment]):
        trace = client.get_trace(found.info.trace_id)
        info, spans = trace.info, []
        for span in trace.data.spans:
            spans.append([span.span_id, span.parent_id, span.name, span.start_time_ns, span.end_time_ns, str(span.status),
                          span.inputs, span.outputs, dict(span.attributes),
                          [[event.name, event.timestamp, dict(event.attributes)] for event in span.events]])
        said = sorted([a.assessment_id, a.name, a.value, a.rationale, a.metadata, str(a.error), a.valid if a.feedback else None, a.overrides,
                       str(a.source), a.create_time_ms] for a in info.assessments)
        tags = {key: value for key, value in info.tags.items() if key != "mlflow.artifactLocation"}
        shown.append([info.trace_id, str(info.state), info.request_time, info.execution_duration, info.request_preview,
                      info.response_preview, tags, info.trace_metadata, spans, said])
    print(json.dumps({"traces": shown}, indent=1, default=str))


mlflow.set_tracking_uri(sys.argv[2])
{"make": make, "dump": dump}[sys.argv[1]]()
