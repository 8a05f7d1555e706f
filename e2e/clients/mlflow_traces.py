"""The unchanged MLflow client traces, assesses, searches and deletes. Usage: mlflow_traces.py URL"""

import json
import math
import sys

import mlflow
from mlflow.entities import AssessmentSource, Feedback, SpanEvent, SpanType

mlflow.set_tracking_uri(sys.argv[1])
experiment = mlflow.set_experiment("traces").experiment_id
client = mlflow.MlflowClient()


@mlflow.trace(span_type=SpanType.TOOL)
def look_up(word):
    return {"found": [word, None, 1.5]}


@mlflow.trace(name="answer", attributes={"odd": [math.inf, True], "text": "{\"a\": 1"})
def answer(question):
    mlflow.update_current_trace(
        tags={"colour": "blue"}, metadata={"version": "7", "mlflow.trace.session": "s-1"}, client_request_id="mine"
    )
    mlflow.get_current_active_span().add_event(SpanEvent("thought", attributes={"n": 1}))
    if question == "why":
        raise ValueError("no answer")
    return look_up(question)["found"][0]


answer("what")
what = mlflow.get_last_active_trace_id()
try:
    answer("why")
except ValueError:
    pass
why = mlflow.get_last_active_trace_id()
with mlflow.start_run() as run:
    answer("how")
    how = mlflow.get_last_active_trace_id()
mlflow.flush_trace_async_logging()

# A trace comes back as it was made, spans and all.
trace = mlflow.get_trace(what)
assert trace.info.state == "OK" and trace.info.experiment_id == experiment
assert trace.info.tags["colour"] == "blue" and trace.info.tags["mlflow.traceName"] == "answer"
assert trace.info.trace_metadata["version"] == "7" and trace.info.client_request_id == "mine"
assert json.loads(trace.info.request_preview) == {"question": "what"}
root, child = trace.data.spans
assert (root.name, root.parent_id, child.parent_id) == ("answer", None, root.span_id)
assert root.inputs == {"question": "what"} and root.outputs == "what"
assert root.get_attribute("odd") == [math.inf, True] and root.get_attribute("text") == '{"a": 1'
assert child.outputs == {"found": ["what", None, 1.5]} and child.span_type == "TOOL"
assert [(event.name, event.attributes) for event in root.events] == [("thought", {"n": 1})]
failed = mlflow.get_trace(why)
assert failed.info.state == "ERROR" and failed.data.spans[0].status.status_code == "ERROR"
assert failed.data.spans[0].events[-1].name == "exception"


def found(filter_string=None, **more):
    traces = mlflow.search_traces(
        locations=[experiment], filter_string=filter_string, return_type="list", **more
    )
    return [trace.info.trace_id for trace in traces]


# Search, by all that is known of a trace.
assert found() == [how, why, what]
assert found(order_by=["timestamp_ms ASC"], max_results=2) == [what, why]
assert found("trace.status = 'ERROR'") == [why]
assert found("name = 'answer' AND tags.colour = 'blue' AND metadata.version = '7'") == [how, why, what]
assert found(f"timestamp_ms > {trace.info.timestamp_ms} AND execution_time_ms < 1e9") == [how, why]
assert found(f"attributes.run_id = '{run.info.run_id}'") == [how]
assert found("span.name = 'look_up' AND span.type = 'TOOL'") == [how, what]
assert found("trace.text LIKE '%no answer%'") == [why]
assert all(trace.data.spans for trace in mlflow.search_traces(locations=[experiment], return_type="list"))
bare = mlflow.search_traces(locations=[experiment], include_spans=False, return_type="list")
assert [len(trace.data.spans) for trace in bare] == [0, 0, 0]
assert len(mlflow.search_traces(locations=[experiment])) == 3
page = client.search_traces(locations=[experiment], max_results=2)
rest = client.search_traces(locations=[experiment], max_results=2, page_token=page.token)
assert [trace.info.trace_id for trace in [*page, *rest]] == [how, why, what]
assert not rest.token

# Tags and links.
mlflow.set_trace_tag(what, "checked", "yes")
assert found("tags.checked = 'yes'") == [what]
mlflow.delete_trace_tag(what, "checked")
assert found("tags.checked IS NULL") == [how, why, what]
client.link_traces_to_run([what], run.info.run_id)
assert found(run_id=run.info.run_id) == [how, what]
prompt = mlflow.genai.register_prompt("greeting", "hello {{name}}")
client.link_prompt_versions_to_trace([prompt], what)
assert found(f"prompt = 'greeting/{prompt.version}'") == [what]

# Assessments.
source = AssessmentSource(source_type="HUMAN", source_id="ada")
good = mlflow.log_feedback(
    trace_id=what, name="good", value=True, source=source, rationale="because", metadata={"by": "hand"}
)
mlflow.log_feedback(trace_id=what, name="score", value=0.5, span_id=root.span_id)
mlflow.log_feedback(trace_id=what, name="broken", error=ValueError("judge failed"))
expected = mlflow.log_expectation(trace_id=what, name="expected", value={"words": ["what"]})
said = {a.name: a for a in mlflow.get_trace(what).info.assessments}
assert set(said) == {"good", "score", "broken", "expected"}
assert said["good"].value is True and said["good"].source.source_id == "ada"
assert said["good"].rationale == "because" and said["good"].metadata == {"by": "hand"}
assert said["score"].span_id == root.span_id and said["expected"].value == {"words": ["what"]}
assert said["broken"].error.error_message == "judge failed"
assert found("feedback.good = 'true' AND feedback.score = '0.5'") == [what]
mlflow.update_assessment(what, good.assessment_id, Feedback(name="good", value=False))
assert mlflow.get_assessment(what, good.assessment_id).value is False
over = mlflow.override_feedback(trace_id=what, assessment_id=good.assessment_id, value="maybe")
assert mlflow.get_assessment(what, good.assessment_id).valid is False
assert found("feedback.good = 'maybe'") == [what] and found("feedback.good = 'false'") == []
mlflow.delete_assessment(what, over.assessment_id)
assert mlflow.get_assessment(what, good.assessment_id).valid is True
mlflow.delete_assessment(what, expected.assessment_id)
assert found("expectation.expected IS NOT NULL") == []

# A trace that was made elsewhere, and deletion.
copy = mlflow.MlflowClient().start_trace("by hand", inputs={"x": 1})
client.end_trace(copy.trace_id, outputs=[2])
mlflow.flush_trace_async_logging()
assert mlflow.get_trace(copy.trace_id).data.spans[0].outputs == [2]
assert client.delete_traces(experiment_id=experiment, trace_ids=[copy.trace_id, what]) == 2
assert mlflow.get_trace(what) is None
latest = mlflow.get_trace(how).info.timestamp_ms
assert client.delete_traces(experiment_id=experiment, max_timestamp_millis=latest, max_traces=1) == 1
assert found() == [how]
print("ok")
