//! Real sockets on both sides: a client that writes bytes, the server as it listens, and a backend that
//! answers what the test wants, wrong answers too.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::apps::health::Target;
use crate::apps::instance::Ending;
use crate::http::server::Server;

/// A server with one app, whose backend is what the test makes of each connection.
struct Stage {
    server: Server,
    instance: Arc<Instance>,
    end: watch::Sender<Option<Ending>>,
}

impl Stage {
    async fn new<F, W>(strip: bool, backend: F) -> Self
    where
        F: Fn(TcpStream) -> W + Send + Sync + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (instance, end) = Instance::at(Target::Tcp(listener.local_addr().unwrap()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(backend(stream));
            }
        });
        let spec = Spec { strip, ..spec() };
        let shared = instance.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (spec, instance) = (spec.clone(), shared.clone());
            let from = From { address: IpAddr::V4(Ipv4Addr::LOCALHOST), tls: true, user: Some("ada".into()) };
            async move {
                match forward(&spec, &instance, from, request).await {
                    Ok(answer) => answer,
                    Err(trouble) => (StatusCode::BAD_GATEWAY, trouble.to_string()).into_response(),
                }
            }
        });
        let router = router.layer(axum::extract::DefaultBodyLimit::disable());
        let server = Server::start("127.0.0.1:0", router).await.unwrap();
        Self { server, instance, end }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    /// Sends a request that closes its connection; all that comes back.
    async fn ask(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A connection that is broken off has said what it had to.
        let read = tokio::time::timeout(Duration::from_secs(20), client.read_to_end(&mut answer));
        drop(read.await.expect("the connection is closed"));
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn spec() -> Spec {
    let app = rondo_project::project::App {
        uses: None,
        with: Default::default(),
        run: Some("x {port}".into()),
        files: None,
        inputs: Default::default(),
        models: Default::default(),
        environment: None,
        care: Default::default(),
        drain: None,
        restarts: None,
        used: None,
        packaged: None,
    };
    Spec::new("a", &app)
}

/// The head of a request.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Answers with the head that it was asked with.
async fn echo_head(mut stream: TcpStream) {
    let head = head(&mut stream).await;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

#[tokio::test]
async fn a_request_looks_as_if_it_came_from_the_apps_own_page() {
    let stage = Stage::new(false, echo_head).await;
    let host = stage.server.address();
    let answer = stage
        .ask(&format!(
            "GET /apps/a/x%2e/../y?q=1 HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\
             Referer: http://{host}/apps/a/p\r\nAuthorization: Basic secret\r\nX-Forwarded-For: 6.6.6.6\r\n\
             X_Forwarded_User: root\r\nForwarded: for=6.6.6.6\r\nConnection: close, X-Gone\r\nX-Gone: 1\r\n\
             Cookie: a=1; rondo_key=k\r\nTE: trailers\r\n\r\n"
        ))
        .await;
    let own = stage.instance.target.host();
    let head = answer.split("\r\n\r\n").nth(1).unwrap();
    assert!(head.starts_with("GET /apps/a/x%2e/../y?q=1 HTTP/1.1\r\n"), "{head}");
    for line in [
        format!("host: {own}"),
        format!("origin: http://{own}"),
        format!("referer: http://{own}/apps/a/p"),
        "authorization: token t".to_owned(),
        "x-forwarded-for: 127.0.0.1".to_owned(),
        "x-forwarded-proto: https".to_owned(),
        format!("x-forwarded-host: {host}"),
        "x-forwarded-prefix: /apps/a".to_owned(),
        "x-forwarded-user: ada".to_owned(),
        "cookie: a=1".to_owned(),
    ] {
        assert!(head.lines().any(|said| said == line), "{line} in {head}");
    }
    for gone in ["6.6.6.6", "secret", "root", "x-gone", "rondo_key", "trailers"] {
        assert!(!head.to_lowercase().contains(gone), "{gone} in {head}");
    }
}

#[tokio::test]
async fn an_app_without_a_path_of_its_own_is_asked_without_it() {
    let stage = Stage::new(true, echo_head).await;
    let request =
        "GET /apps/a/x?q HTTP/1.1\r\nHost: h\r\nReferer: http://h/apps/a/p\r\nConnection: close\r\n\r\n";
    let answer = stage.ask(request).await;
    assert!(answer.contains("GET /x?q HTTP/1.1"), "{answer}");
    assert!(answer.contains(&format!("referer: http://{}/p\r\n", stage.instance.target.host())), "{answer}");
}

#[tokio::test]
async fn what_an_app_answers_does_not_reach_beyond_its_path() {
    let stage = Stage::new(false, |mut stream| async move {
        head(&mut stream).await;
        let answer = "HTTP/1.1 302 Found\r\nlocation: /login\r\nset-cookie: a=1; Path=/; Domain=h\r\n\
                      set-cookie: b=2; HttpOnly\r\nclear-site-data: \"*\"\r\nservice-worker-allowed: /\r\n\
                      keep-alive: timeout=5\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let answer = stage.await.ask("GET /apps/a/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    let answer = answer.to_lowercase();
    assert!(answer.contains("location: /apps/a/login\r\n"), "{answer}");
    assert!(answer.contains("set-cookie: a=1; path=/apps/a/\r\n"), "{answer}");
    assert!(answer.contains("set-cookie: b=2; httponly; path=/apps/a/\r\n"), "{answer}");
    for gone in ["clear-site-data", "service-worker-allowed", "keep-alive"] {
        assert!(!answer.contains(gone), "{gone} in {answer}");
    }
}

/// Turns to a protocol in which everything is said back, until the other side is done.
async fn echo_socket(mut stream: TcpStream) {
    let head = head(&mut stream).await.to_lowercase();
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
    let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\n\
                  sec-websocket-accept: x\r\n\r\nhello ";
    stream.write_all(answer.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await.unwrap();
    write.write_all(b" bye").await.unwrap();
    write.shutdown().await.unwrap();
}

const UPGRADE: &str = "GET /apps/a/ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                       Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: k\r\n\r\n";

#[tokio::test]
async fn a_socket_is_copied_both_ways_until_both_sides_are_done() {
    let stage = Stage::new(false, echo_socket).await;
    let mut client = stage.connect().await;
    client.write_all(UPGRADE.as_bytes()).await.unwrap();
    let answer = head(&mut client).await.to_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("upgrade: websocket") && answer.contains("sec-websocket-accept: x"), "{answer}");
    let mut hello = [0; 6];
    client.read_exact(&mut hello).await.unwrap();
    assert_eq!((&hello, stage.instance.open()), (b"hello ", 1));
    let long = vec![7_u8; 3 << 20];
    let (mut read, mut write) = client.split();
    let sent = async {
        write.write_all(&long).await.unwrap();
        // One side is done, and the other still has something to say.
        write.shutdown().await.unwrap();
    };
    let mut said = Vec::new();
    let (_, count) = tokio::join!(sent, read.read_to_end(&mut said));
    assert_eq!(count.unwrap(), long.len() + 4);
    assert!(said.starts_with(&long[..]) && said.ends_with(b" bye"));
    while stage.instance.open() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_socket_does_not_outlive_its_process_for_long() {
    let stage = Stage::new(false, |mut stream| async move {
        head(&mut stream).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    let stage = stage.await;
    let mut client = stage.connect().await;
    client.write_all(UPGRADE.as_bytes()).await.unwrap();
    head(&mut client).await;
    stage.end.send_replace(Some(Ending::of("it was killed")));
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), client.read_to_end(&mut rest)).await;
    drop(read.expect("the socket is closed"));
    assert!(rest.is_empty());
}

#[tokio::test]
async fn an_upgrade_that_the_app_does_not_want_is_an_ordinary_answer() {
    let stage = Stage::new(false, echo_head).await;
    let answer = stage.ask(&UPGRADE.replace("keep-alive, Upgrade", "close, Upgrade")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn nothing_but_websockets_is_upgraded_to() {
    let stage = Stage::new(false, echo_head).await;
    for other in ["h2c", "tcp", "websocket, h2c"] {
        let asked = UPGRADE.replace("Upgrade: websocket", &format!("Upgrade: {other}"));
        let answer = stage.ask(&asked.replace("keep-alive, Upgrade", "close, Upgrade")).await;
        let answer = answer.to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 200") && !answer.contains("upgrade: "), "{other}: {answer}");
    }
}

#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_is_a_bad_gateway() {
    let turning = |to: &'static str| {
        Stage::new(false, move |mut stream: TcpStream| async move {
            head(&mut stream).await;
            let answer =
                format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: {to}\r\nconnection: upgrade\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            std::future::pending::<()>().await;
        })
    };
    let stage = turning("websocket").await;
    let answer = stage.ask("GET /apps/a/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    let stage = turning("h2c").await;
    let answer = stage.ask(&UPGRADE.replace("keep-alive, Upgrade", "close, Upgrade")).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test]
async fn a_backend_that_is_no_good_is_a_bad_gateway_and_never_a_panic() {
    for nonsense in [
        "",
        "\r\n",
        "nonsense\r\n\r\n",
        "HTTP/1.1 200",
        "HTTP/1.1 999999 X\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-x\r\n",
    ] {
        let stage = Stage::new(false, move |mut stream: TcpStream| async move {
            head(&mut stream).await;
            stream.write_all(nonsense.as_bytes()).await.unwrap();
        });
        let stage = stage.await;
        let answer = stage.ask("GET /apps/a/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{nonsense:?}: {answer}");
        assert_eq!(stage.instance.open(), 0);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (gone, _end) = Instance::at(Target::Tcp(listener.local_addr().unwrap()));
    drop(listener);
    let from = From { address: IpAddr::V4(Ipv4Addr::LOCALHOST), tls: false, user: None };
    let request = Request::get("/apps/a/").body(Body::empty()).unwrap();
    assert!(matches!(forward(&spec(), &gone, from, request).await, Err(Trouble::Unreachable(_))));
}

#[tokio::test]
async fn a_backend_that_dies_in_the_middle_closes_the_answer() {
    let stage = Stage::new(false, |mut stream| async move {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    });
    let answer = stage.await.ask("GET /apps/a/ HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("half"), "{answer}");
    let stage = Stage::new(false, |mut stream| async move {
        head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            .await
            .unwrap();
    });
    let answer = stage.await.ask("GET /apps/a/ HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(answer.contains("half") && !answer.ends_with("0\r\n\r\n"), "no end that was not said: {answer}");
}

#[tokio::test]
async fn an_answer_comes_as_it_is_said_and_a_body_goes_as_it_comes() {
    let (wanted, want) = tokio::sync::mpsc::unbounded_channel::<&str>();
    let want = Arc::new(tokio::sync::Mutex::new(want));
    let stage = Stage::new(false, move |mut stream| {
        let want = want.clone();
        async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await.unwrap();
            while let Some(event) = want.lock().await.recv().await {
                stream.write_all(event.as_bytes()).await.unwrap();
            }
        }
    });
    let stage = stage.await;
    let mut client = stage.connect().await;
    client.write_all(b"GET /apps/a/events HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    head(&mut client).await;
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        wanted.send(event).unwrap();
        let mut said = String::new();
        while !said.contains(event) {
            said.push(char::from(client.read_u8().await.unwrap()));
        }
    }
    drop((client, wanted));

    // More than fits into any buffer on the way, and answered when it is whole.
    let stage = Stage::new(false, |mut stream| async move {
        let head = head(&mut stream).await.to_lowercase();
        assert!(head.contains("content-length: 33554432"), "{head}");
        let mut body = (&mut stream).take(32 << 20);
        let count = tokio::io::copy(&mut body, &mut tokio::io::sink()).await.unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{count}");
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let stage = stage.await;
    let mut client = stage.connect().await;
    client
        .write_all(
            b"PUT /apps/a/up HTTP/1.1\r\nHost: h\r\nContent-Length: 33554432\r\nConnection: close\r\n\r\n",
        )
        .await
        .unwrap();
    client.write_all(&vec![1; 32 << 20]).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("33554432"), "{answer}");
}
