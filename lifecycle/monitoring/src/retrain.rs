//! From alerts to a retraining request: the policy.
//!
//! A trigger answers alerts whose name begins with its own. One look at the traffic makes one request at
//! most, whatever the number of alerts; and after a request its trigger rests for its cool-down, counted
//! in event time from the request's `until`, so that a model which cannot be helped is not retrained for
//! every window.

use std::collections::BTreeMap;

use rondo_core::Timestamp;
use rondo_core::handoff::{RequestState, RetrainRequest};
use rondo_core::metric::{self, Subject};
use rondo_project::project::{Cause, Then, Trigger};
use rondo_table::checks::Severity;
use serde_json::Value;

use crate::alert::Alert;

/// What has been asked for before.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// The requests for the model, oldest first.
    pub requests: &'a [RetrainRequest],
}

/// The request that these alerts lead to at a moment of event time, where they lead to one.
pub fn request(
    model: &str,
    triggers: &[Trigger],
    alerts: &[Alert],
    history: History<'_>,
    at: Timestamp,
    now: Timestamp,
) -> Option<RetrainRequest> {
    for trigger in triggers {
        let cause = match &trigger.cause {
            Cause::Alert(prefix) => prefix,
            Cause::Schedule(_) => continue,
        };
        let answers = |alert: &&Alert| {
            trigger.cause.matches_alert(&alert.name) && (*cause == alert.name || training_may_help(alert))
        };
        let Some(alert) = alerts.iter().find(answers) else { continue };
        let rests = history
            .requests
            .iter()
            .filter(|request| request.id.starts_with(&format!("{model}/{cause}/")))
            .any(|request| at < request.until + trigger.cool_down);
        let waits = history
            .requests
            .iter()
            .any(|request| matches!(request.state, RequestState::Open | RequestState::Running));
        if rests || waits {
            continue;
        }
        let params: BTreeMap<String, Value> =
            trigger.params.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        return Some(RetrainRequest {
            id: format!("{model}/{cause}/{at}"),
            model: model.to_owned(),
            cause: format!("{}: {}", alert.name, alert.message),
            until: at,
            targets: trigger.run.clone(),
            params,
            promote: trigger.then == Some(Then::Promote),
            state: RequestState::Open,
            run: None,
            outcome: None,
            created: now,
        });
    }
    None
}

/// Slow answers are not mended by another fit, and what is only warned of is no reason for one: such an alert
/// has to be named by its whole name.
fn training_may_help(alert: &Alert) -> bool {
    if alert.severity != Severity::Error {
        return false;
    }
    let known = alert.metric.as_deref().and_then(metric::find);
    known.is_none_or(|known| known.subject != Subject::Serving)
}

#[cfg(test)]
mod tests {
    use rondo_core::Span;
    use rondo_project::ordered::Ordered;

    use super::*;
    use crate::window::Window;

    fn day(day: i64) -> Timestamp {
        Timestamp(0) + Span::days(day)
    }

    fn trigger() -> Trigger {
        Trigger {
            cause: Cause::Alert("delay.objective".into()),
            run: vec!["train".into()],
            then: Some(Then::Promote),
            cool_down: Span::days(28),
            params: Ordered::new(),
        }
    }

    fn alert(name: &str) -> Alert {
        Alert {
            id: name.into(),
            name: name.into(),
            model: "delay".into(),
            window: Window { start: day(0), end: day(7) },
            event_time: day(9),
            message: "moved".into(),
            severity: Severity::Error,
            metric: None,
        }
    }

    #[test]
    fn an_alert_that_a_trigger_names_makes_one_request() {
        let history = History { requests: &[] };
        let alerts = [alert("delay.drift.temp"), alert("delay.objective.0"), alert("delay.objective.1")];
        let request = request("delay", &[trigger()], &alerts, history, day(9), day(1000)).unwrap();
        assert!(request.cause.starts_with("delay.objective.0: moved"));
        assert_eq!((request.until, request.promote), (day(9), true));
        assert!(super::request("delay", &[trigger()], &alerts[..1], history, day(9), day(1000)).is_none());
    }

    #[test]
    fn slow_answers_are_not_mended_by_training() {
        let slow = Alert { metric: Some("latency_p99_ms".into()), ..alert("delay.objective.4") };
        let ask = |cause: &str| {
            let trigger = Trigger { cause: Cause::Alert(cause.into()), ..trigger() };
            request(
                "delay",
                &[trigger],
                std::slice::from_ref(&slow),
                History { requests: &[] },
                day(9),
                day(9),
            )
        };
        assert!(ask("delay.objective").is_none());
        assert!(ask("delay.objective.4").is_some());
    }

    #[test]
    fn a_warning_makes_no_model_again_unless_it_has_been_asked_for_by_name() {
        let alerts = |severity| [Alert { severity, ..alert("delay.quality.temp.between") }];
        let ask = |cause: &str, severity| {
            let trigger = Trigger { cause: Cause::Alert(cause.into()), ..trigger() };
            let history = History { requests: &[] };
            request("delay", &[trigger], &alerts(severity), history, day(9), day(9)).is_some()
        };
        assert!(ask("delay.quality", Severity::Error) && ask("delay.quality.temp", Severity::Error));
        assert!(!ask("delay.quality", Severity::Warning));
        assert!(ask("delay.quality.temp.between", Severity::Warning));
    }

    #[test]
    fn after_a_request_the_trigger_rests() {
        let alerts = [alert("delay.objective.0")];
        let ask = |requests: &[RetrainRequest], at| {
            request("delay", &[trigger()], &alerts, History { requests }, at, day(1000))
        };
        let mut first = ask(&[], day(9)).unwrap();
        assert!(ask(std::slice::from_ref(&first), day(50)).is_none(), "one is still open");
        first.state = RequestState::Kept;
        assert!(ask(std::slice::from_ref(&first), day(36)).is_none(), "it rests for 28 days");
        assert!(ask(std::slice::from_ref(&first), day(37)).is_some());
    }
}
