//! Lists of runs: what a search finds, with what is asked for of each run and no more, and how many.

use rondo_core::RunId;
use rondo_store::meta::listing::{Listed, Pick, Select};
use rondo_store::meta::search::{Condition, Query, Room};

use crate::artifacts::run_root;
use crate::runs::{PAGE, PAGE_MAX, PARENT, RUN_NAME, USER};
use crate::tracking::{Found, Search};
use crate::{Error, Tracking, filter, limits, page};

/// How many things one list may ask for of each run.
const SELECTED: usize = 500;

/// A run in a list: what was logged on it is JSON text that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRun {
    /// What the store has; among the tags are those that are columns.
    pub run: Listed,
    /// Where its artifacts are, as MLflow clients see it.
    pub artifact_uri: String,
}

/// What is wanted of each run, from texts such as `metrics.acc`, `params.*`, `tags` and `inputs`. A `*`
/// stands for any text. A run's own columns always come; of no texts, everything does.
///
/// # Errors
/// When a text names nothing that runs have.
pub fn select(texts: &[String]) -> Result<Select, Error> {
    if texts.is_empty() {
        return Ok(Select::default());
    }
    if texts.len() > SELECTED {
        return Err(Error::TooMany { what: "selected fields", found: texts.len(), limit: SELECTED });
    }
    let nothing = || Pick::Keys(Vec::new());
    let mut select = Select { metrics: nothing(), params: nothing(), tags: nothing(), inputs: false };
    for text in texts {
        let (head, key) = text.split_once('.').unwrap_or((text, "*"));
        let key = key.trim_matches(['`', '"']);
        let pick = match head.trim().to_lowercase().as_str() {
            "metric" | "metrics" => &mut select.metrics,
            "param" | "params" | "parameter" | "parameters" => &mut select.params,
            "tag" | "tags" => &mut select.tags,
            "inputs" | "outputs" => {
                select.inputs = true;
                continue;
            }
            "info" | "attribute" | "attributes" => continue,
            _ => {
                let reason = "expected one of metrics.KEY, params.KEY, tags.KEY, inputs, info";
                return Err(limits::invalid("select", text, reason));
            }
        };
        match pick {
            Pick::Keys(_) if key == "*" => *pick = Pick::All,
            Pick::Keys(keys) => keys.push(key.to_owned()),
            Pick::All => {}
        }
    }
    Ok(select)
}

impl Tracking {
    /// The store's search for runs of these experiments.
    ///
    /// # Errors
    /// When an experiment's id, the filter, the order or the page token cannot be understood.
    pub(crate) fn runs_query(experiments: &[String], search: &Search) -> Result<Query, Error> {
        Ok(Query {
            experiments: Some(page::experiments(experiments)?),
            view: search.view,
            filter: Condition::All(vec![filter::parse(Room::Runs, &search.filter)?, search.seen.clone()]),
            order: filter::order(Room::Runs, &search.order_by)?,
            after: page::place(&search.page_token)?,
            ..Query::all(Room::Runs, page::size(search.max_results, PAGE, PAGE_MAX)?)
        })
    }

    /// Runs of these experiments that match, with what is asked for of each.
    ///
    /// # Errors
    /// When the filter, the order or the page token cannot be understood, or the search takes too long.
    pub async fn list_runs(
        &self,
        experiments: &[String],
        search: &Search,
        select: &Select,
    ) -> Result<Found<ListedRun>, Error> {
        let query = Self::runs_query(experiments, search)?;
        let page = self.meta().list_runs(&query, select).await?.ok_or_else(page::foreign)?;
        let mut items = Vec::with_capacity(page.items.len());
        for mut run in page.items {
            let id: RunId = run.id.parse().map_err(|_| Error::RunNotFound { id: run.id.clone() })?;
            columns_as_tags(&mut run, &select.tags);
            items.push(ListedRun { artifact_uri: run_root(&run.location, id), run });
        }
        Ok(Found { items, next_page_token: page.next.as_deref().map(page::token) })
    }

    /// How many runs of these experiments match.
    ///
    /// # Errors
    /// When the filter cannot be understood, or it takes too long.
    pub async fn count_runs(&self, experiments: &[String], search: &Search) -> Result<u64, Error> {
        let search =
            Search { order_by: Vec::new(), page_token: String::new(), max_results: None, ..search.clone() };
        Ok(self.meta().count_runs(&Self::runs_query(experiments, &search)?).await?)
    }
}

/// Shows the columns that clients read as tags among the tags, where those do not say otherwise.
fn columns_as_tags(run: &mut Listed, wanted: &Pick) {
    // A client's tags are its own; it sets this one itself where it wants it.
    let user = Some(run.user.as_str()).filter(|user| !user.is_empty() && !run.of_client);
    let name = Some(run.name.as_str()).filter(|_| !run.untagged);
    for (key, value) in [(RUN_NAME, name), (PARENT, run.parent.as_deref()), (USER, user)] {
        let Some(value) = value.filter(|_| wanted.takes(key)) else { continue };
        // Quotes in values are escaped, so that this is a key and nothing else.
        if run.tags.contains(&format!("{{\"key\":\"{key}\",")) {
            continue;
        }
        let value = serde_json::Value::from(value);
        run.tags.pop();
        let comma = if run.tags.len() > 1 { "," } else { "" };
        run.tags.push_str(&format!("{comma}{{\"key\":\"{key}\",\"value\":{value}}}]"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Pick {
        Pick::Keys(keys.iter().map(|key| (*key).to_owned()).collect())
    }

    #[test]
    fn what_is_selected_is_what_comes() {
        let of = |texts: &[&str]| select(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&[]).unwrap(), Select::default());
        let some = of(&["metrics.acc", "metrics.val_*", "params", "info"]).unwrap();
        assert_eq!(
            some,
            Select { metrics: keys(&["acc", "val_*"]), params: Pick::All, tags: keys(&[]), inputs: false }
        );
        assert_eq!(of(&["tags.`a.b`"]).unwrap().tags, keys(&["a.b"]));
        assert!(of(&["flavour.x"]).is_err());
        assert!(some.metrics.takes("val_loss") && some.metrics.takes("acc") && !some.metrics.takes("acc2"));
    }

    #[test]
    fn columns_stand_among_the_tags_unless_a_tag_says_otherwise() {
        let mut run = Listed {
            name: "say \"n\"".into(),
            user: "ada".into(),
            tags: "[{\"key\":\"mlflow.user\",\"value\":\"bob\"}]".into(),
            ..Listed::default()
        };
        columns_as_tags(&mut run, &Pick::All);
        let tags: Vec<serde_json::Value> = serde_json::from_str(&run.tags).unwrap();
        assert_eq!(tags[0]["value"], "bob");
        assert_eq!((tags[1]["key"].as_str(), tags[1]["value"].as_str()), (Some(RUN_NAME), Some("say \"n\"")));
        assert_eq!(tags.len(), 2);
        let mut bare = Listed { name: "n".into(), tags: "[]".into(), ..Listed::default() };
        columns_as_tags(&mut bare, &keys(&["other"]));
        assert_eq!(bare.tags, "[]");
    }
}
