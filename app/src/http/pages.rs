//! The few pages of the server: the loop at a glance, its report, and metrics for Prometheus.

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

use super::AppState;
use super::problem::Answer;
use crate::report::chart::escape;
use crate::report::{gather, html};

const STYLE: &str = include_str!("../report/style.css");

/// The endpoints, and where to go from here.
pub async fn home(State(state): State<AppState>) -> Html<String> {
    let project = state.platform.project();
    let mut rows = String::new();
    for status in state.deployments.status() {
        let name = escape(&status.deployment.name);
        rows.push_str(&format!(
            "<tr><td><code>{name}</code></td><td>{} {}</td><td>{}</td><td>{}</td>\
             <td><code>POST /api/v1/endpoints/{name}/predict</code></td></tr>",
            escape(&status.deployment.model),
            status.deployment.version,
            status.deployment.since,
            status.engine,
        ));
    }
    if rows.is_empty() {
        rows.push_str(
            "<tr><td colspan=\"5\">no endpoint yet: <code>rondo run</code> makes a champion</td></tr>",
        );
    }
    Html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{name}</title><style>{STYLE}</style></head>\
         <body><main><h1>{name}</h1><p class=\"quiet\">{value}</p><section><h2>Endpoints</h2>\
         <div class=\"scroll\"><table><thead><tr><th>endpoint</th><th>model</th><th>since</th><th>engine</th>\
         <th>ask</th></tr></thead><tbody>{rows}</tbody></table></div></section>\
         <section><h2>More</h2><p><a href=\"/report\">The loop's report</a> · <a href=\"/metrics\">metrics</a> \
         · MLflow clients: <code>mlflow.set_tracking_uri(\"http://…\")</code></p></section></main></body></html>",
        name = escape(&project.name),
        value = escape(project.canvas.value.as_deref().unwrap_or_default()),
    ))
}

/// The loop's report, made anew.
///
/// # Errors
/// When the store or log cannot be read, or there is nothing to report on.
pub async fn report(State(state): State<AppState>) -> Answer<Html<String>> {
    let report = gather::gather(&state.platform, None).await?;
    Ok(Html(html::render(&report)))
}

/// What the endpoints have counted, in Prometheus's text format.
pub async fn metrics(State(state): State<AppState>) -> Response {
    let text = state.deployments.prometheus();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
