//! What the artifact routes promise: nothing lost, nothing half, nothing from outside.

use axum::http::HeaderMap;

use super::*;

const PROXY: &str = "/api/2.0/mlflow-artifacts";

impl House {
    async fn put(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
        let mut request = self.request("PUT", path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    async fn fetch(&self, path: &str, headers: &[(&str, &str)]) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = self.request("GET", path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.send(request.body(Body::empty()).unwrap()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, bytes(response).await)
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_was_sent_is_refused_and_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Roots::default().with_destination("art", folder.path()).unwrap();
    for roots in [Roots::default(), plain] {
        let house = House::with_roots(Mode::Open, roots).await;
        let run = house.run().await;
        let path = format!("{PROXY}/artifacts/0/{run}/artifacts/x.bin");
        let good = house.put(&path, &[("content-md5", "XUFAKrxLKna5cZ2REBfFkg==")], "hello").await;
        assert_eq!(good.status(), StatusCode::OK);
        let tag = good.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_eq!(tag, format!("\"{}\"", Digest::of(b"hello")));
        let sum = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";
        for wrong in
            [("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="), ("content-digest", sum), ("x-rondo-digest", &tag)]
        {
            let bad = house.put(&path, &[wrong], "hullo").await;
            assert_eq!(bad.status(), StatusCode::BAD_REQUEST, "{wrong:?}");
        }
        let (status, headers, body) = house.fetch(&path, &[]).await;
        assert_eq!((status, body.as_slice()), (StatusCode::OK, &b"hello"[..]));
        assert_eq!(headers[header::ETAG], tag.as_str());
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(headers.contains_key(header::LAST_MODIFIED));
        let (status, _, body) = house.fetch(&path, &[("if-none-match", &tag)]).await;
        assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
        let (status, headers, body) = house.fetch(&path, &[("range", "bytes=0-0,-2")]).await;
        assert_eq!(status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(headers[header::CONTENT_LENGTH], body.len().to_string().as_str());
        let kind = headers[header::CONTENT_TYPE].to_str().unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let expected = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 0-0/5\r\n\r\nh\
             \r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 3-4/5\r\n\r\nlo\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        let (status, headers, _) = house.fetch(&path, &[("range", "bytes=5-")]).await;
        assert_eq!(
            (status, &headers[header::CONTENT_RANGE]),
            (StatusCode::RANGE_NOT_SATISFIABLE, &"bytes */5".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_file_comes_in_parts_by_addresses_that_carry_their_own_right() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let folder = format!("0/{run}/artifacts/model");
    let said = json!({ "path": "/home/ada/w.bin", "num_parts": 3 });
    let begun = house.ok("POST", &format!("{PROXY}/mpu/create/{folder}"), said.clone()).await;
    let id = begun["upload_id"].as_str().unwrap();
    let address = |number: usize| {
        let url = begun["credentials"][number - 1]["url"].as_str().unwrap();
        assert_eq!(begun["credentials"][number - 1]["part_number"], number);
        url.strip_prefix("http://127.0.0.1:5000").unwrap().to_owned()
    };
    let mut parts = Vec::new();
    for (number, body) in [(3, "end"), (1, "first "), (2, "lost "), (2, "second ")] {
        let sent = house.put(&address(number), &[], body).await;
        assert_eq!(sent.status(), StatusCode::OK);
        let etag = sent.headers()[header::ETAG].to_str().unwrap().to_owned();
        parts.retain(|part: &Value| part["part_number"] != number);
        parts.push(json!({ "part_number": number, "etag": etag, "url": "" }));
    }
    let complete = format!("{PROXY}/mpu/complete/{folder}");
    let end = |parts: &[Value]| json!({ "path": "/home/ada/w.bin", "upload_id": id, "parts": parts });
    let (status, _) = house.call("POST", &complete, end(&parts)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "the parts are not in order");
    parts.sort_by_key(|part| part["part_number"].as_i64());
    for (path, said) in [
        (format!("{PROXY}/mpu/complete/0/{run}/artifacts"), end(&parts)),
        (complete.clone(), json!({ "path": "other.bin", "upload_id": id, "parts": parts })),
        (complete.clone(), json!({ "path": "w.bin", "upload_id": "../x", "parts": parts })),
        (format!("{PROXY}/mpu/abort/0/{run}/artifacts"), json!({ "path": "w.bin", "upload_id": id })),
    ] {
        assert_eq!(house.call("POST", &path, said).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(house.get(&format!("artifacts/list?run_id={run}")).await.get("files"), None);
    for _ in 0..2 {
        // Who did not hear the answer may ask again.
        house.ok("POST", &complete, end(&parts)).await;
    }
    let (_, _, body) = house.fetch(&format!("{PROXY}/artifacts/{folder}/w.bin"), &[]).await;
    assert_eq!(body, b"first second end");
    assert_eq!(house.put(&address(1), &[], "late").await.status(), StatusCode::NOT_FOUND);

    let begun = house.ok("POST", &format!("{PROXY}/mpu/create/{folder}"), said).await;
    let gone = json!({ "path": "w.bin", "upload_id": begun["upload_id"] });
    house.ok("POST", &format!("{PROXY}/mpu/abort/{folder}"), gone.clone()).await;
    let (status, _) = house.call("POST", &format!("{PROXY}/mpu/abort/{folder}"), gone).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for (path, parts) in [(folder.as_str(), 0), (folder.as_str(), 10_001), ("0/nobody/../x", 1)] {
        let said = json!({ "path": "x", "num_parts": parts });
        let (status, _) = house.call("POST", &format!("{PROXY}/mpu/create/{path}"), said).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {parts}");
    }
}

#[tokio::test]
async fn an_address_gives_the_right_in_its_words_and_no_other() {
    let mut house = House::new(Mode::StepsOnly).await;
    let run = house.step().await.id.hex();
    let experiment =
        house.get(&format!("runs/get?run_id={run}")).await["run"]["info"]["experiment_id"].clone();
    let root = format!("{}/{run}/artifacts", experiment.as_str().unwrap());
    house.put(&format!("{PROXY}/artifacts/{root}/a%20b.txt"), &[], "mine").await;
    let given = house.get(&format!("{PROXY}/presigned/{root}/a%20b.txt")).await;
    assert_eq!(given["file_size"], 4);
    let begun =
        house.ok("POST", &format!("{PROXY}/mpu/create/{root}"), json!({ "path": "y", "num_parts": 1 })).await;
    let path = |url: &Value| url.as_str().unwrap().strip_prefix("http://127.0.0.1:5000").unwrap().to_owned();
    let (file, part) = (path(&given["url"]), path(&begun["credentials"][0]["url"]));

    // From here on nobody says who it is.
    house.token = None;
    let (status, headers, body) = house.fetch(&file, &[("range", "bytes=1-2")]).await;
    assert_eq!((status, body.as_slice()), (StatusCode::PARTIAL_CONTENT, &b"in"[..]));
    assert_eq!(headers[header::CONTENT_DISPOSITION], "attachment; filename=\"a b.txt\"");
    assert_eq!(house.put(&part, &[], "y").await.status(), StatusCode::OK);
    let token = part.rsplit('/').next().unwrap();
    let forged = format!("{}{}", if token.starts_with('A') { "B" } else { "A" }, &token[1..]);
    for odd in [forged.as_str(), "", "x", "%00", &token[..token.len() - 4], &"A".repeat(9000)] {
        let answer = house.put(&format!("{PROXY}/mpu/part/{odd}"), &[], "y").await.status();
        // With no word at all it is no address of that kind, and of others nobody unknown is told.
        assert_eq!(answer.as_u16(), if odd.is_empty() { 401 } else { 403 }, "{odd}");
    }
    let swapped = format!("{PROXY}/presigned-download/{token}/y");
    assert_eq!(house.fetch(&swapped, &[]).await.0, StatusCode::FORBIDDEN);
    let swapped = file.replace("presigned-download", "mpu/part");
    assert_eq!(
        house.put(swapped.rsplit_once('/').unwrap().0, &[], "y").await.status(),
        StatusCode::FORBIDDEN
    );
    let evil = Request::put(&part).header(header::HOST, "evil.example").body(Body::from("y")).unwrap();
    assert_eq!(house.send(evil).await.status(), StatusCode::FORBIDDEN);
    for path in [format!("{PROXY}/artifacts/{root}/a%20b.txt"), format!("{PROXY}/presigned/{root}/a%20b.txt")]
    {
        assert_eq!(house.fetch(&path, &[]).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn a_root_of_the_operators_is_the_only_place_outside_that_a_request_may_name() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots::default().with_root("root", folder.path()).unwrap();
    let root = folder.path().canonicalize().unwrap().join("root").display().to_string();
    std::fs::write(folder.path().join("canary"), "secret").unwrap();
    let house = House::with_roots(Mode::Open, roots).await;
    let run = house.run().await;
    let shown = house.get(&format!("runs/get?run_id={run}")).await;
    let at = format!("{root}/0/{run}/artifacts");
    assert_eq!(shown["run"]["info"]["artifact_uri"], at);
    std::fs::create_dir_all(format!("{at}/model")).unwrap();
    std::fs::write(format!("{at}/model/MLmodel"), "flavors").unwrap();
    let listed = house.get(&format!("artifacts/list?run_id={run}&path=model")).await;
    assert_eq!(listed["files"], json!([{ "path": "model/MLmodel", "is_dir": false, "file_size": 7 }]));
    assert_eq!(listed["root_uri"], at);
    let get = format!("/get-artifact?run_uuid={run}&path=");
    assert_eq!(house.fetch(&format!("{get}model/MLmodel"), &[]).await.2, b"flavors");
    for path in ["../../../canary", "%2e%2e/canary", "/etc/passwd", "model/..%2f..%2fcanary", "C:%2Fx"] {
        assert_eq!(house.fetch(&format!("{get}{path}"), &[]).await.0, StatusCode::BAD_REQUEST, "{path}");
    }
    for (location, status) in [
        (format!("{root}/mine"), 200),
        (format!("file://{root}/mine"), 200),
        ("mlflow-artifacts:/mine".to_owned(), 200),
        ("a/folder of mine".to_owned(), 200),
        ("../mine".to_owned(), 400),
        ("a/../../mine".to_owned(), 400),
        (format!("{root}/../canary"), 400),
        (folder.path().display().to_string(), 400),
        ("file:///etc".to_owned(), 400),
        (format!("file://{root}/%2e%2e"), 400),
        ("s3://bucket/x".to_owned(), 400),
    ] {
        let said = json!({ "name": location, "artifact_location": location });
        let (found, answer) = house.call("POST", "experiments/create", said).await;
        assert_eq!(found.as_u16(), status, "{location}: {answer}");
    }
    house.ok("POST", "registered-models/create", json!({ "name": "m" })).await;
    for (source, owner, status) in [
        (format!("{at}/model"), run.as_str(), 200),
        (format!("file://{at}/model"), &run, 200),
        (format!("runs:/{run}/model"), "", 200),
        (format!("{at}/x/../model/."), &run, 200),
        (format!("{at}/model"), "", 400),
        (format!("{at}/model"), "0123456789abcdef0123456789abcdef", 400),
        (format!("{at}/../../../canary"), &run, 400),
        (root.clone(), &run, 400),
        (format!("runs:/{run}/../../x"), &run, 400),
        ("file:///etc".to_owned(), &run, 400),
    ] {
        let said = json!({ "name": "m", "source": source, "run_id": owner });
        let (found, answer) = house.call("POST", "model-versions/create", said).await;
        assert_eq!(found.as_u16(), status, "{source}: {answer}");
    }
    for version in 1..=3 {
        let path = format!("/model-versions/get-artifact?name=m&version={version}&path=MLmodel");
        assert_eq!(house.fetch(&path, &[]).await.2, b"flavors", "{version}");
    }
    let up = house.put(&format!("{PROXY}/artifacts/0/{run}/artifacts/x"), &[], "x").await;
    assert_eq!(up.status(), StatusCode::OK, "the proxy has a tree of its own");
    assert!(!std::path::Path::new(&at).join("x").exists());
}

#[tokio::test]
async fn below_a_prefix_everything_is_below_it() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    let state = house.state.clone().with_prefix("/ml/flow");
    let below = House { router: Router::new().nest("/ml/flow", router(state)), ..house };
    assert_eq!(below.fetch("/ml/flow/health", &[]).await.2, b"OK");
    for outside in ["/health", "/version", "/api/2.0/mlflow/experiments/get?experiment_id=0"] {
        assert_eq!(below.fetch(outside, &[]).await.0, StatusCode::NOT_FOUND, "{outside}");
    }
    let folder = format!("/ml/flow{PROXY}/mpu/create/0/{run}/artifacts");
    let request = below.request("POST", &folder).header(header::CONTENT_TYPE, "application/json");
    let said = json!({ "path": "x", "num_parts": 1 }).to_string();
    let begun =
        below.send(request.header("x-forwarded-proto", "https").body(Body::from(said)).unwrap()).await;
    let begun: Value = serde_json::from_slice(&bytes(begun).await).unwrap();
    let url = begun["credentials"][0]["url"].as_str().unwrap();
    let path = url.strip_prefix("https://127.0.0.1:5000").unwrap();
    assert!(path.starts_with("/ml/flow/api/"), "{path}");
    assert_eq!(below.put(path, &[], "x").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_path_with_slashes_in_a_row_leads_to_the_one_without() {
    let house = House::new(Mode::Open).await;
    for (path, to) in
        [("//get-artifact?path=a//b", "/get-artifact?path=a//b"), ("//evil.example//x", "/evil.example/x")]
    {
        let (status, headers, _) = house.fetch(path, &[]).await;
        assert_eq!(
            (status, headers[header::LOCATION].to_str().unwrap()),
            (StatusCode::PERMANENT_REDIRECT, to)
        );
    }
}

#[tokio::test]
async fn a_damaged_file_is_sent_to_nobody_until_its_own_bytes_come_again() {
    let house = House::new(Mode::Open).await;
    let run = house.run().await;
    for content in [b"hello".to_vec(), vec![7; 300 << 10]] {
        let path = format!("{PROXY}/artifacts/0/{run}/artifacts/x.bin");
        assert_eq!(house.put(&path, &[], content.clone()).await.status(), StatusCode::OK);
        let object = house.store.objects().require(Digest::of(&content)).unwrap();
        let mut damaged = content.clone();
        damaged[2] ^= 1;
        // Another inode, as a disk that lies needs none: what was noted of the old one is of no use.
        std::fs::remove_file(&object).unwrap();
        std::fs::write(&object, damaged).unwrap();
        let of_run = format!("/get-artifact?run_uuid={run}&path=x.bin");
        for (path, headers) in [(&path, vec![]), (&path, vec![("range", "bytes=0-0")]), (&of_run, vec![])] {
            let (status, answer, body) = house.fetch(path, &headers).await;
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            assert_eq!(answer[header::CONTENT_TYPE], "application/json");
            let said: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(said["error_code"], "INTERNAL_ERROR");
            assert!(said["message"].as_str().unwrap().contains("corrupt"), "{said}");
        }
        assert_eq!(house.put(&path, &[], content.clone()).await.status(), StatusCode::OK);
        let (status, _, body) = house.fetch(&path, &[]).await;
        assert!(status == StatusCode::OK && body == content);
    }
}
