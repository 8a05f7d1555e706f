//! Traces, spans and assessments on the wire.

use super::*;

const ID: &str = "tr-0000000000000000000000000000000a";
const TRACES: &str = "/api/3.0/mlflow/traces";

fn trace(id: &str, more: Value) -> Value {
    let mut info = json!({
        "trace_id": id,
        "trace_location": { "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": "0" } },
        "request_time": "2026-11-22T05:09:07.523Z",
        "execution_duration": "1.069s",
        "state": "OK",
        "trace_metadata": { "m": "1" },
        "tags": { "mlflow.traceName": "ask" },
    });
    info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "trace": { "trace_info": info } })
}

fn span(id: &str, parent: &str, attributes: Value) -> Value {
    json!({
        "traceId": "0000000000000000000000000000000a", "spanId": id, "parentSpanId": parent, "name": "ask",
        "startTimeUnixNano": "1795324147523143731", "endTimeUnixNano": "1795324147592937729",
        "status": { "code": 1 }, "attributes": attributes,
    })
}

impl House {
    /// Exports spans; the status of the answer.
    async fn export(&self, headers: &[(&str, &str)], body: impl Into<Body>) -> StatusCode {
        let mut request = self.request("POST", "/v1/traces");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await.status()
    }

    async fn export_spans(&self, spans: Value) {
        let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] });
        let headers = [("content-type", "application/json"), ("x-mlflow-experiment-id", "0")];
        assert_eq!(self.export(&headers, body.to_string()).await, StatusCode::OK);
    }

    async fn found(&self, filter: &str) -> Vec<String> {
        let location =
            json!([{ "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": "0" } }]);
        let search = json!({ "locations": location, "filter": filter });
        let answer = self.ok("POST", &format!("{TRACES}/search"), search).await;
        let traces = answer["traces"].as_array().cloned().unwrap_or_default();
        traces.iter().map(|trace| trace["trace_id"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_trace_is_shown_as_it_was_told() {
    let house = House::new(Mode::Open).await;
    let told = house.ok("POST", TRACES, trace(ID, json!({ "request_preview": "hi" }))).await;
    let shown = house.get(&format!("{TRACES}/{ID}")).await;
    assert_eq!(told, shown);
    let expected = json!({ "trace": { "trace_info": {
        "trace_id": ID,
        "trace_location": { "type": "MLFLOW_EXPERIMENT", "mlflow_experiment": { "experiment_id": "0" } },
        "request_preview": "hi",
        "request_time": "2026-11-22T05:09:07.523Z",
        "execution_duration": "1.069s",
        "state": "OK",
        "trace_metadata": { "m": "1", "mlflow.trace.infoFinalized": "true" },
        "tags": {
            "mlflow.artifactLocation": format!("mlflow-artifacts:/0/traces/{ID}/artifacts"),
            "mlflow.traceName": "ask",
        },
    } } });
    assert_eq!(shown, expected);
    let infos = house.ok("POST", &format!("{TRACES}/batchGetInfos"), json!({ "trace_ids": ["x", ID] })).await;
    assert_eq!(infos["trace_infos"], json!([expected["trace"]["trace_info"]]));
}

#[tokio::test]
async fn spans_come_back_as_they_were_exported() {
    let house = House::new(Mode::Open).await;
    let attributes = json!([
        { "key": "mlflow.spanInputs", "value": { "kvlistValue": { "values": [
            { "key": "x", "value": { "intValue": "1" } }] } } },
        { "key": "mlflow.spanType", "value": { "stringValue": "TOOL" } },
    ]);
    house.export_spans(json!([span("0000000000000002", "0000000000000001", json!([]))])).await;
    house.export_spans(json!([span("0000000000000001", "", attributes)])).await;
    house.ok("POST", TRACES, trace(ID, json!({}))).await;
    let answer = house.get(&format!("{TRACES}/get?trace_id={ID}&allow_partial=False")).await;
    let spans = answer["trace"]["spans"].as_array().unwrap();
    assert_eq!(
        spans[0],
        json!({
            "trace_id": "AAAAAAAAAAAAAAAAAAAACg==",
            "span_id": "AAAAAAAAAAE=",
            "name": "ask",
            "start_time_unix_nano": 1_795_324_147_523_143_731_i64,
            "end_time_unix_nano": 1_795_324_147_592_937_729_i64,
            "attributes": [
                { "key": "mlflow.traceRequestId", "value": { "string_value": ID } },
                { "key": "mlflow.spanInputs", "value": { "kvlist_value": { "values": [
                    { "key": "x", "value": { "int_value": 1 } }] } } },
                { "key": "mlflow.spanType", "value": { "string_value": "TOOL" } },
            ],
            "status": { "code": "STATUS_CODE_OK" },
        })
    );
    assert_eq!(spans[1]["parent_span_id"], "AAAAAAAAAAE=");
    assert_eq!(answer["trace"]["trace_info"]["tags"]["mlflow.trace.spansLocation"], "TRACKING_STORE");
    let many = house.get(&format!("{TRACES}/batchGet?trace_ids={ID}&trace_ids=x&trace_ids={ID}")).await;
    assert_eq!(many["traces"], json!([answer["trace"]]));
    let file = format!("/ajax-api/3.0/mlflow/get-trace-artifact?request_id={ID}");
    let file = house.send(house.request("GET", &file).body(Body::empty()).unwrap()).await;
    assert_eq!(file.headers()[header::CONTENT_DISPOSITION], "attachment; filename=traces.json");
    let file: Value = serde_json::from_slice(&bytes(file).await).unwrap();
    assert_eq!(file["spans"][0]["attributes"]["mlflow.spanInputs"], "{\"x\": 1}");
    assert_eq!(file["spans"][0]["parent_span_id"], Value::Null);

    assert_eq!(house.found("span.name = 'ask' AND span.type = 'TOOL'").await, [ID]);
    assert!(house.found("span.name = 'ask' AND span.status = 'ERROR'").await.is_empty());
}

#[tokio::test]
async fn an_export_that_cannot_be_taken_says_why() {
    let house = House::new(Mode::Open).await;
    let (json, protobuf) = (("content-type", "application/json"), ("content-type", "application/x-protobuf"));
    let experiment = ("x-mlflow-experiment-id", "0");
    assert_eq!(house.export(&[protobuf], "").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(house.export(&[experiment], "").await, StatusCode::BAD_REQUEST);
    for headers in [[protobuf, experiment], [json, experiment]] {
        for body in ["", "\u{7f}\u{7f}", "{\"resourceSpans\": []}"] {
            assert_eq!(house.export(&headers, body).await, StatusCode::BAD_REQUEST, "{body}");
        }
    }
    let packed = [protobuf, experiment, ("content-encoding", "gzip")];
    assert_eq!(house.export(&packed, "x").await, StatusCode::BAD_REQUEST);
    let spans = json!([span("0000000000000001", "", json!([]))]);
    let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] }).to_string();
    assert_eq!(house.export(&[json, ("x-mlflow-experiment-id", "9")], body).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_file_of_a_trace_is_the_traces_own() {
    let house = House::new(Mode::Open).await;
    let path = format!("/api/2.0/mlflow-artifacts/artifacts/0/traces/{ID}/artifacts/traces.json");
    let put = async || {
        let request = house.request("PUT", &path).body(Body::from("{\"spans\": []}")).unwrap();
        house.send(request).await.status()
    };
    assert_eq!(put().await, StatusCode::BAD_REQUEST, "nobody's");
    house.ok("POST", TRACES, trace(ID, json!({}))).await;
    assert_eq!(put().await, StatusCode::OK);
    // Its spans are there and not in the store.
    let (status, _) = house.call("GET", &format!("{TRACES}/get?trace_id={ID}"), Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let file = format!("/ajax-api/2.0/mlflow/get-trace-artifact?request_id={ID}");
    let file = house.send(house.request("GET", &file).body(Body::empty()).unwrap()).await;
    assert_eq!(bytes(file).await, b"{\"spans\": []}");
    let gone = json!({ "experiment_id": "0", "request_ids": [ID, "x"] });
    assert_eq!(house.ok("POST", "traces/delete-traces", gone).await, json!({ "traces_deleted": 1 }));
    let (status, _) = house.call("GET", &path, Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn assessments_are_given_changed_overridden_and_taken_back() {
    let house = House::new(Mode::Open).await;
    house.ok("POST", TRACES, trace(ID, json!({}))).await;
    let path = format!("{TRACES}/{ID}/assessments");
    let give = |more: Value| {
        let mut given = json!({
            "assessment_name": "good",
            "source": { "source_type": "HUMAN", "source_id": "ada" },
            "create_time": "2026-11-22T05:09:07Z",
            "last_update_time": "2026-11-22T05:09:07Z",
        });
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "assessment": given })
    };
    let first =
        house.ok("POST", &path, give(json!({ "feedback": { "value": "no" }, "rationale": "r" }))).await;
    let id = first["assessment"]["assessment_id"].as_str().unwrap().to_owned();
    let one = format!("{path}/{id}");
    assert_eq!(house.get(&one).await, first);
    assert_eq!(
        first["assessment"],
        json!({
            "assessment_id": id, "assessment_name": "good", "trace_id": ID,
            "source": { "source_type": "HUMAN", "source_id": "ada" },
            "create_time": "2026-11-22T05:09:07Z", "last_update_time": "2026-11-22T05:09:07Z",
            "feedback": { "value": "no" }, "rationale": "r", "valid": true,
        })
    );
    let change = json!({ "assessment": { "feedback": { "value": true }, "metadata": { "a": "b" } },
                         "update_mask": "feedback,metadata" });
    let changed = &house.ok("PATCH", &one, change).await["assessment"];
    assert_eq!((&changed["feedback"], &changed["rationale"]), (&json!({ "value": true }), &json!("r")));
    assert_eq!(changed["metadata"], json!({ "a": "b" }));
    assert_eq!(changed["last_update_time"], "2023-11-14T22:13:20Z");
    let other = json!({ "assessment": { "expectation": { "value": 1 } }, "update_mask": "expectation" });
    let (status, refused) = house.call("PATCH", &one, other).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(refused["message"], "Cannot update expectation value on a Feedback assessment.");

    assert_eq!(house.found("feedback.good = 'true'").await, [ID]);
    let over = house.ok("POST", &path, give(json!({ "feedback": { "value": 5.0 }, "overrides": id }))).await;
    assert!(house.found("feedback.good = 'true'").await.is_empty());
    assert_eq!(house.found("feedback.good = '5'").await, [ID]);
    assert_eq!(house.get(&one).await["assessment"]["valid"], false);
    let over = format!("{path}/{}", over["assessment"]["assessment_id"].as_str().unwrap());
    for _ in 0..2 {
        house.ok("DELETE", &over, json!({})).await;
    }
    assert_eq!(house.get(&one).await["assessment"]["valid"], true);

    let failed = json!({ "feedback": { "error": { "error_code": "E", "error_message": "m" } } });
    let failed = house.ok("POST", &path, give(failed)).await;
    assert_eq!(failed["assessment"]["feedback"]["value"], Value::Null);
    let written = json!({ "serialization_format": "JSON_FORMAT", "value": "{\"x\": [1]}" });
    house.ok("POST", &path, give(json!({ "expectation": { "serialized_value": written } }))).await;
    assert_eq!(house.found("expectation.good LIKE '%[1]%'").await, [ID]);

    let wrong = [
        (path.as_str(), give(json!({})), StatusCode::BAD_REQUEST),
        (path.as_str(), json!({}), StatusCode::BAD_REQUEST),
        (
            path.as_str(),
            give(json!({ "feedback": { "value": 1 }, "create_time": "now" })),
            StatusCode::BAD_REQUEST,
        ),
        (path.as_str(), give(json!({ "feedback": {}, "overrides": "a-x" })), StatusCode::NOT_FOUND),
        ("/api/3.0/mlflow/traces/x/assessments", give(json!({ "feedback": {} })), StatusCode::NOT_FOUND),
    ];
    for (path, body, expected) in wrong {
        let (status, answer) = house.call("POST", path, body).await;
        assert_eq!(status, expected, "{answer}");
    }
}

#[tokio::test]
async fn traces_are_searched_page_by_page() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    for index in 0..5 {
        let second = json!({ "request_time": format!("2026-11-22T05:09:0{index}Z"), "tags": { "k": format!("{}", index % 2) } });
        house.ok("POST", TRACES, trace(&format!("tr-{index}"), second)).await;
    }
    house.ok("POST", TRACES, trace("tr-run", json!({ "trace_metadata": { "mlflow.sourceRun": run } }))).await;
    house.ok("POST", "traces/link-to-run", json!({ "trace_ids": ["tr-1", "tr-x"], "run_id": run })).await;
    let prompts = json!({ "trace_id": "tr-2", "prompt_versions": [{ "name": "p", "version": "1" }] });
    house.ok("POST", "traces/link-prompts", prompts).await;
    assert_eq!(house.found("tags.k = '1'").await, ["tr-3", "tr-1"]);
    assert_eq!(house.found(&format!("run_id = '{run}'")).await, ["tr-run", "tr-1"]);
    assert_eq!(house.found(&format!("metadata.mlflow.sourceRun = '{run}'")).await, ["tr-run", "tr-1"]);
    assert_eq!(house.found("prompt = 'p/1'").await, ["tr-2"]);
    assert_eq!(
        house.found("timestamp_ms <= 1795324141000 OR name = 'ask'").await,
        ["tr-run", "tr-1", "tr-0"]
    );
    assert!(house.found("tags.k IS NULL AND metadata.m IS NOT NULL").await.is_empty());

    let location = json!([{ "mlflow_experiment": { "experiment_id": "0" } }]);
    let mut search =
        json!({ "locations": location, "max_results": 2, "order_by": ["tags.k DESC", "timestamp ASC"] });
    let mut seen = Vec::new();
    loop {
        let page = house.ok("POST", &format!("{TRACES}/search"), search.clone()).await;
        seen.extend(page["traces"].as_array().unwrap().iter().map(|trace| trace["trace_id"].clone()));
        match page.get("next_page_token") {
            Some(next) => search["page_token"] = next.clone(),
            None => break,
        }
    }
    assert_eq!(seen, ["tr-1", "tr-3", "tr-0", "tr-2", "tr-4", "tr-run"]);
    for wrong in [
        json!({}),
        json!({ "locations": location, "max_results": 501 }),
        json!({ "locations": location, "max_results": 0 }),
        json!({ "locations": location, "filter": "nonsense" }),
        json!({ "locations": location, "filter": format!("name LIKE '{}'", "%".repeat(60_000)) }),
        json!({ "locations": location, "order_by": ["feedback.x"] }),
        json!({ "locations": location, "page_token": "x" }),
    ] {
        let (status, answer) = house.call("POST", &format!("{TRACES}/search"), wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
    let many: Vec<Value> =
        (0..40_000).map(|id| json!({ "mlflow_experiment": { "experiment_id": id.to_string() } })).collect();
    let found = house.ok("POST", &format!("{TRACES}/search"), json!({ "locations": many })).await;
    assert_eq!(found["traces"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn clients_of_the_second_version_begin_end_and_find_traces() {
    let house = House::new(Mode::Open).await;
    let begun = json!({ "experiment_id": "0", "timestamp_ms": 5, "request_metadata": [{ "key": "a", "value": "b" }],
                        "tags": [{ "key": "t", "value": "u" }] });
    let begun = house.ok("POST", "traces", begun).await;
    let id = begun["trace_info"]["request_id"].as_str().unwrap().to_owned();
    assert_eq!(begun["trace_info"]["status"], "IN_PROGRESS");
    let end =
        json!({ "timestamp_ms": 15, "status": "ERROR", "request_metadata": [{ "key": "c", "value": "d" }] });
    house.ok("PATCH", &format!("traces/{id}"), end).await;
    let info = &house.get(&format!("traces/{id}/info")).await["trace_info"];
    assert_eq!((&info["execution_time_ms"], &info["status"]), (&json!(10), &json!("ERROR")));
    assert_eq!(info["request_metadata"], json!([{ "key": "a", "value": "b" }, { "key": "c", "value": "d" }]));
    house.ok("PATCH", &format!("traces/{id}/tags"), json!({ "key": "k", "value": "v" })).await;
    let found = house.get("traces?experiment_ids=0&filter=tags.k%20%3D%20%27v%27").await;
    assert_eq!(found["traces"][0]["request_id"], id.as_str());
    house.ok("DELETE", &format!("traces/{id}/tags"), json!({ "key": "k" })).await;
    let (status, _) = house.call("DELETE", &format!("traces/{id}/tags"), json!({ "key": "k" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for ended in [i64::MIN, i64::MAX] {
        let (status, _) =
            house.call("PATCH", &format!("traces/{id}"), json!({ "timestamp_ms": ended })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn what_is_no_trace_is_the_clients_fault() {
    let house = House::new(Mode::Open).await;
    let wrong = [
        json!({}),
        json!({ "trace": {} }),
        trace("", json!({})),
        trace("../x", json!({})),
        trace(ID, json!({ "trace_location": {} })),
        trace(ID, json!({ "request_time": "yesterday" })),
        trace(ID, json!({ "execution_duration": "1 s" })),
        trace(ID, json!({ "tags": { "a": 1 } })),
        trace(ID, json!({ "tags": [] })),
        trace(ID, json!({ "assessments": [{}] })),
    ];
    for body in wrong {
        let (status, answer) = house.call("POST", TRACES, body.clone()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
    }
    let (status, answer) = house.call("GET", &format!("{TRACES}/{ID}"), Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(answer["message"], format!("Trace with ID '{ID}' not found."));
    let made = house.ok("POST", "experiments/create", json!({ "name": "gone" })).await;
    house.ok("POST", "experiments/delete", made.clone()).await;
    let gone = json!({ "trace_location": { "mlflow_experiment": made } });
    let (status, _) = house.call("POST", TRACES, trace(ID, gone)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for wrong in [
        json!({ "experiment_id": "0" }),
        json!({ "experiment_id": "0", "request_ids": ["a"], "max_timestamp_millis": 5 }),
        json!({ "experiment_id": "0", "request_ids": ["a"], "max_traces": 5 }),
        json!({ "request_ids": ["a"] }),
    ] {
        let (status, _) = house.call("POST", "traces/delete-traces", wrong).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn figures_are_counted_in_groups_and_filters_compared() {
    let house = House::new(Mode::Open).await;
    for (number, (state, env)) in [("OK", "prod"), ("OK", "prod"), ("ERROR", "dev")].into_iter().enumerate() {
        let tags = json!({ "env": env, "mlflow.traceName": "ask" });
        let more =
            json!({ "state": state, "tags": tags, "execution_duration": format!("0.{}s", number + 1) });
        house.ok("POST", TRACES, trace(&format!("tr-{number:032x}"), more)).await;
    }
    let ask = |more: Value| {
        let mut body = json!({ "experiment_ids": ["0"], "view_type": "TRACES", "metric_name": "trace_count",
            "aggregations": [{ "aggregation_type": "COUNT" }], "dimensions": ["trace_status"] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let point = |dimensions: Value, values: Value| json!({ "metric_name": "trace_count", "dimensions": dimensions, "values": values });
    let path = format!("{TRACES}/metrics");
    let counted = house.ok("POST", &path, ask(json!({}))).await;
    assert_eq!(
        counted["data_points"],
        json!([
            point(json!({ "trace_status": "ERROR" }), json!({ "COUNT": 1.0 })),
            point(json!({ "trace_status": "OK" }), json!({ "COUNT": 2.0 })),
        ])
    );
    let only = ask(json!({ "filters": ["trace.tag.env = 'prod'"] }));
    let counted = house.ok("POST", &path, only).await;
    assert_eq!(counted["data_points"].as_array().unwrap().len(), 1);
    let latency = ask(json!({ "metric_name": "latency", "dimensions": ["trace_name"], "aggregations": [
        { "aggregation_type": "AVG" }, { "aggregation_type": "PERCENTILE", "percentile_value": 25 }] }));
    let found = house.ok("POST", &path, latency).await;
    assert_eq!(found["data_points"][0]["values"], json!({ "AVG": 200.0, "P25.0": 150.0 }));
    house.export_spans(json!([span("0000000000000001", "", json!([]))])).await;
    house.export_spans(json!([span("0000000000000001", "", json!([]))])).await;
    let spans =
        ask(json!({ "view_type": "SPANS", "metric_name": "span_count", "dimensions": ["span_name"] }));
    let found = house.ok("POST", &path, spans).await;
    assert_eq!(found["data_points"][0]["values"], json!({ "COUNT": 1.0 }), "a span that came twice is one");
    for odd in [
        json!({ "view_type": "NONE" }),
        json!({ "metric_name": "x" }),
        json!({ "dimensions": ["span_name"] }),
        json!({ "aggregations": [{ "aggregation_type": "SUM" }] }),
        json!({ "filters": ["x"] }),
        json!({ "time_interval_seconds": 60 }),
        json!({ "max_results": 0 }),
    ] {
        let (status, answer) = house.call("POST", &path, ask(odd.clone())).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{odd}: {answer}");
    }
    let compare = json!({ "experiment_ids": ["0"], "filter_string1": "tags.env = 'prod'",
        "filter_string2": "status RLIKE '^OK?$'", "base_filter": "name = 'ask'" });
    let found = house.ok("POST", &format!("{TRACES}/calculate-filter-correlation"), compare).await;
    assert_eq!((&found["filter1_count"], &found["joint_count"]), (&json!(2), &json!(2)));
    assert_eq!(found["total_count"], 3);
    assert!((found["npmi"].as_f64().unwrap() - 1.0).abs() < 1e-12, "{found}");
}

#[tokio::test]
async fn an_export_of_more_than_can_be_held_is_refused_before_it_is_read() {
    let house = House::new(Mode::Open).await;
    let pair = json!({ "key": "", "value": {} }).to_string();
    let spans = format!("[{{\"attributes\": [{}]}}]", vec![pair; 500_000].join(","));
    let body = format!("{{\"resourceSpans\": [{{\"scopeSpans\": [{{\"spans\": {spans}}}]}}]}}");
    let headers = [("content-type", "application/json"), ("x-mlflow-experiment-id", "0")];
    assert_eq!(house.export(&headers, body).await, StatusCode::PAYLOAD_TOO_LARGE);
}
