//! `GET /api/v1/runs`.

use axum::Json;
use axum::extract::State;
use rondo_core::Code;
use rondo_store::meta::search::View;
use rondo_tracking::Tracking;
use rondo_tracking::table::Table;
use rondo_tracking::tracking::Search;

use super::{all, last};
use crate::http::access::Caller;
use crate::http::problem::{Answer, Asked, Problem};

/// Rows of a page, unless it is said.
const PAGE: i64 = 100;

/// Runs by column: `experiment` and `column` as often as wanted, `filter`, `order_by` as often as wanted,
/// `view` (`active`, `deleted`, `all`), `limit` and `page`. Ships the columns that were asked for and
/// nothing else.
///
/// # Errors
/// When the filter, the order, the page or a column cannot be understood.
pub async fn table(
    State(tracking): State<Tracking>,
    caller: Caller,
    Asked(asked): Asked<Vec<(String, String)>>,
) -> Answer<Json<Table>> {
    let known = ["experiment", "column", "filter", "order_by", "view", "limit", "page"];
    if let Some((key, _)) = asked.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        let message = format!("unknown argument `{key}`: expected one of {}", known.join(", "));
        return Err(Problem::new(Code::RequestInvalid, message));
    }
    let limit = match last(&asked, "limit") {
        None => PAGE,
        Some(text) => text
            .parse()
            .map_err(|_| Problem::new(Code::RequestInvalid, format!("limit `{text}` is no whole number")))?,
    };
    let view = match last(&asked, "view") {
        None | Some("active") => View::Active,
        Some("deleted") => View::Deleted,
        Some("all") => View::All,
        Some(other) => {
            let message = format!("view `{other}`: expected active, deleted or all");
            return Err(Problem::new(Code::RequestInvalid, message));
        }
    };
    let search = Search {
        filter: last(&asked, "filter").unwrap_or_default().to_owned(),
        order_by: all(&asked, "order_by"),
        max_results: Some(limit),
        page_token: last(&asked, "page").unwrap_or_default().to_owned(),
        view,
        ..Search::default()
    };
    let experiments = caller.seen(all(&asked, "experiment"));
    Ok(Json(tracking.table(&experiments, &search, &all(&asked, "column")).await?))
}
