//! The test of a service: it is started as `rondo up` starts it, looked after until it is ready, asked through
//! the same proxy that people ask it through, and stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue, header};
use rondo_project::package::{Answers, Expect, Package, Test};
use rondo_registry::webhooks::Webhooks;
use rondo_registry::webhooks::target::Allow;

use crate::apps::health::Target;
use crate::apps::status::State;
use crate::apps::{App, Apps};
use crate::cli::failure::Outcome;
use crate::http::access::{Admission, Mode};
use crate::http::apps::KEY;
use crate::http::server::Server;
use crate::http::{AppState, router};
use crate::platform::Platform;
use crate::platform::packages::{self, Bench, STEP, Tested};

/// How long all of it may take, unless the package says so; its environment may have to be installed.
const PATIENCE: Duration = Duration::from_secs(900);

/// How often it is looked how it stands.
const LOOK: Duration = Duration::from_millis(50);

/// How much of an answer is looked at.
const LONGEST: usize = 4 << 20;

/// Runs one test.
///
/// # Errors
/// When the temporary project cannot be made or served; whatever the service does is a result.
pub async fn test(bench: &Bench, package: &Package, uses: &str, name: &str, test: &Test) -> Outcome<Tested> {
    let began = Instant::now();
    let span = package.timeout.and_then(|span| u64::try_from(span.millis()).ok());
    let until = began + span.map_or(PATIENCE, Duration::from_millis);
    let problems = match packages::made(bench, package, uses, test).await? {
        Ok(platform) => served(Arc::new(platform), &test.expect, until).await?,
        Err(refusal) => packages::refused(&test.expect, &refusal),
    };
    let seconds = began.elapsed().as_secs_f64();
    Ok(Tested { test: name.to_owned(), seconds, skipped: None, problems })
}

/// Serves the project until its one app has answered; what is not as expected.
async fn served(platform: Arc<Platform>, expect: &Expect, until: Instant) -> Outcome<Vec<String>> {
    let deployments = platform.open_serving().await?;
    let bound = Server::bind("127.0.0.1:0").await?;
    let apps = Arc::new(Apps::start(&platform, &bound.url()).await?);
    let state = AppState {
        platform: platform.clone(),
        deployments,
        webhooks: Webhooks::new(platform.store().clone(), Allow::new(Vec::new())),
        apps: apps.clone(),
    };
    let server = bound.serve(router(state, Admission::new(Mode::Open)));
    let target = Target::Tcp(server.address());
    let problems = match apps.find(STEP) {
        Some(app) => judged(app, &target, expect, until).await,
        None => vec!["its project has no app".to_owned()],
    };
    apps.stop().await;
    server.stop().await;
    platform.store().close().await;
    Ok(problems)
}

async fn judged(app: &App, target: &Target, expect: &Expect, until: Instant) -> Vec<String> {
    match (ready(app, until).await, &expect.fails) {
        (Ok(()), Some(text)) => vec![format!("it was to fail with `{text}`, and became ready")],
        (Err(why), Some(_)) => packages::refused(expect, &why),
        (Err(why), None) => vec![format!("it did not become ready: {why}")],
        (Ok(()), None) => {
            let mut problems = Vec::new();
            for wanted in &expect.http {
                problems.extend(asked(app, target, wanted).await);
            }
            problems
        }
    }
}

/// Waits until it is ready; else why it is not. It has one try: what dies in a test is broken.
async fn ready(app: &App, until: Instant) -> Result<(), String> {
    loop {
        let status = app.status();
        let over = match status.state {
            State::Running => return Ok(()),
            State::Failed | State::Restarting | State::Stopped => true,
            State::Waiting => status.error.is_some(),
            State::Preparing | State::Starting => false,
        };
        if over || Instant::now() > until {
            let error = status.error.unwrap_or_else(|| format!("it {}", status.state.said()));
            let tail: String = status.tail.iter().map(|line| format!("\n| {line}")).collect();
            return Err(error + &tail);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Asks for one path, as a browser with the app's key does; what is not as expected.
async fn asked(app: &App, target: &Target, wanted: &Answers) -> Option<String> {
    let path = format!("{}{}", app.spec.base, wanted.path);
    let cookie = HeaderValue::from_str(&format!("{KEY}={}", app.key)).ok();
    let headers: Vec<(HeaderName, HeaderValue)> =
        cookie.into_iter().map(|cookie| (header::COOKIE, cookie)).collect();
    let (status, bytes) = match target.fetch(&path, headers, LONGEST).await {
        Ok(answer) => answer,
        Err(error) => return Some(format!("`{}` was not answered: {error}", wanted.path)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let begin: String = text.chars().take(400).collect();
    if status != wanted.status {
        return Some(format!("`{}` answers {status}, expected is {}: {begin}", wanted.path, wanted.status));
    }
    let missing = wanted.contains.as_ref().filter(|wanted| !text.contains(wanted.as_str()))?;
    Some(format!("`{}` does not hold `{missing}`: {begin}", wanted.path))
}
