//! The few pages of the server: the loop at a glance, its report, and metrics for Prometheus.

use std::fmt::Write;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use rondo_serving::deployment::Status;

use super::AppState;
use super::problem::Answer;
use crate::apps::status;
use crate::report::chart::escape;
use crate::report::tables::{code_spans, count};
use crate::report::{gather, html};

/// The endpoints, and where to go from here.
pub async fn home(State(state): State<AppState>, headers: HeaderMap) -> Html<String> {
    let project = state.platform.project();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:8080");
    let url = format!("http://{host}");
    let statuses = state.deployments.status();
    let mut body = format!(
        "<header><p class=\"eyebrow\">rondo</p><h1>{}</h1><p class=\"lede\">{}</p></header>",
        escape(&project.name),
        code_spans(project.canvas.value.as_deref().unwrap_or_default())
    );
    body.push_str("<nav aria-label=\"pages\"><a href=\"/report\">The loop's report</a>");
    body.push_str("<a href=\"/metrics\">Metrics for Prometheus</a></nav>");
    body.push_str(&endpoints(&statuses));
    for status in &statuses {
        body.push_str(&how_to_ask(status, &url));
    }
    body.push_str(&apps(&state));
    let _ = write!(
        body,
        "</section><section><h2>Tracking</h2><p class=\"note\">Runs, metrics and models of this project, for \
         any MLflow client:</p><pre><code>mlflow.set_tracking_uri(\"{}\")</code></pre></section>",
        escape(&url)
    );
    Html(html::page(&project.name, &body))
}

/// The section of the endpoints, left open for what follows.
fn endpoints(statuses: &[Status]) -> String {
    let mut html = String::from(
        "<section><h2>Endpoints</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"endpoints\"><table><thead><tr><th>endpoint</th><th>model</th><th>serves since</th>\
         <th class=\"n\">requests</th><th class=\"n\">failed</th><th class=\"n\">rows</th>\
         <th class=\"n\">p99</th></tr></thead><tbody>",
    );
    for status in statuses {
        let deployment = &status.deployment;
        let numbers = &status.numbers;
        let since: String = deployment.since.rfc3339().chars().take(19).collect();
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"day\">{} <span class=\"state champion\">v{}</span> \
             <span class=\"quiet\">{}</span></td><td class=\"day\">{} UTC</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&deployment.name),
            escape(&deployment.model),
            deployment.version,
            status.engine,
            escape(&since.replace('T', " ")),
            count(numbers.answered),
            count(numbers.failed),
            count(numbers.rows),
            numbers.p99_ms.map_or_else(|| "–".to_owned(), |p99| format!("{p99:.1} ms")),
        );
    }
    if statuses.is_empty() {
        html.push_str(
            "<tr><td colspan=\"7\">no endpoint yet: <code>rondo run</code> makes a champion</td></tr>",
        );
    }
    html.push_str("</tbody></table></div><p class=\"note\">Counted since this server started.</p>");
    html
}

/// The section of the apps, where there are any, left open for what follows.
fn apps(state: &AppState) -> String {
    let all = state.apps.all();
    if all.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "</section><section><h2>Apps</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" \
         aria-label=\"apps\"><table><thead><tr><th>app</th><th>state</th><th>since</th><th>given</th>\
         <th class=\"n\">restarts</th><th>last trouble</th></tr></thead><tbody>",
    );
    for stands in all.iter().map(|app| app.status()) {
        let since: String = stands.since.rfc3339().chars().take(19).collect();
        let given: Vec<String> = stands.inputs.values().map(|given| escape(given)).collect();
        let _ = write!(
            html,
            "<tr><th scope=\"row\"><a href=\"{}\">{}</a> <span class=\"quiet\">{}</span></th>\
             <td><span class=\"state {}\">{}</span></td><td class=\"day\">{} UTC</td><td>{}</td>\
             <td class=\"n\">{}</td><td>{}</td></tr>",
            escape(&stands.path),
            escape(&stands.name),
            escape(&stands.uses),
            if stands.state == status::State::Running { "champion" } else { "" },
            stands.state.text(),
            escape(&since.replace('T', " ")),
            given.join("<br>"),
            count(u64::from(stands.restarts)),
            escape(stands.error.as_deref().unwrap_or_default()),
        );
    }
    html.push_str("</tbody></table></div>");
    html
}

/// A call that can be pasted, with the columns that it needs.
fn how_to_ask(status: &Status, url: &str) -> String {
    let name = escape(&status.deployment.name);
    let columns: Vec<String> = status
        .signature
        .inputs
        .iter()
        .map(|column| format!("<code>{}</code>", escape(&column.name)))
        .collect();
    format!(
        "<details><summary>Ask <code>{name}</code></summary><pre><code>curl -s {url}/api/v1/endpoints/{name}/predict \
         \\\n  -H 'content-type: application/json' -d '{{\"records\": [{{…}}]}}'</code></pre>\
         <p>A record has the columns {}.</p></details>",
        columns.join(", "),
        url = escape(url),
    )
}

/// The loop's report, made anew.
///
/// # Errors
/// When the store or log cannot be read, or there is nothing to report on.
pub async fn report(State(state): State<AppState>) -> Answer<Html<String>> {
    let report = gather::gather(&state.platform, None).await?;
    Ok(Html(html::render(&report)))
}

/// What the endpoints have counted and the newest windows have shown, in Prometheus's text format.
pub async fn metrics(State(state): State<AppState>) -> Answer<Response> {
    let text = state.deployments.prometheus() + &state.platform.exposed_windows().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
