//! `experiments/permissions/*` and `registered-models/permissions/*`, of MLflow's basic-auth app.

use axum::Json;
use axum::extract::State;
use rondo_core::access::{NoWord, Permission};
use rondo_store::meta::access::{Account, Subject};
use serde_json::{Value, json};

use super::MlflowState;
use super::args::Args;
use super::refusal::{Answer, Refusal};
use super::users::{keeper, named};
use crate::http::access::Caller;

/// What a request is about: an experiment's id, else a model's name.
fn subject(args: &Args) -> Answer<Subject> {
    match args.text("experiment_id")? {
        Some(id) => {
            let missing = || Refusal::missing(format!("No Experiment with id={id} exists"));
            Ok(Subject::Experiment(id.parse().map_err(|_| missing())?))
        }
        None => Ok(Subject::Model(args.required("name")?)),
    }
}

/// The user, what on, and that the caller may say who may what there.
fn asked(caller: &Caller, args: &Args) -> Answer<(String, Subject)> {
    let subject = subject(args)?;
    caller.on(&subject)?;
    Ok((args.required("username")?, subject))
}

fn permission(args: &Args) -> Answer<Permission> {
    let text = args.required("permission")?;
    text.parse().map_err(|_: NoWord| {
        let known: Vec<String> = Permission::ALL.iter().map(|known| format!("'{known}'")).collect();
        let known = known.join(", ");
        Refusal::invalid(format!("Invalid permission '{text}'. Valid permissions are: ({known})"))
    })
}

fn given(user: &Account, subject: &Subject) -> Option<Permission> {
    match subject {
        Subject::Experiment(id) => user.experiments.get(id).copied(),
        Subject::Model(name) => user.models.get(name).copied(),
    }
}

/// What it is called in messages.
fn described(user: &str, subject: &Subject) -> String {
    match subject {
        Subject::Experiment(id) => {
            format!("Experiment permission with experiment_id={id} and username={user}")
        }
        Subject::Model(name) => format!("Registered model permission with name={name} and username={user}"),
    }
}

fn shown(user: &Account, subject: &Subject, permission: Permission) -> Value {
    let (id, permission) = (user.id, permission.text());
    match subject {
        Subject::Experiment(experiment) => json!({
            "experiment_permission":
                { "experiment_id": experiment.to_string(), "user_id": id, "permission": permission }
        }),
        Subject::Model(name) => json!({
            "registered_model_permission": { "name": name, "user_id": id, "permission": permission }
        }),
    }
}

pub(super) async fn create(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let keeper = keeper(&state)?;
    let (name, subject) = asked(&caller, &args)?;
    let permission = permission(&args)?;
    let user = keeper.user(&name).await.map_err(named)?;
    if given(&user, &subject).is_some() {
        return Err(Refusal::exists(format!("{} already exists.", described(&name, &subject))));
    }
    let because = caller.because(&format!("{permission} given"));
    keeper.give(&name, subject.clone(), permission, because).await.map_err(named)?;
    Ok(Json(shown(&user, &subject, permission)))
}

pub(super) async fn get(State(state): State<MlflowState>, caller: Caller, args: Args) -> Answer<Json<Value>> {
    let keeper = keeper(&state)?;
    let (name, subject) = asked(&caller, &args)?;
    let user = keeper.user(&name).await.map_err(named)?;
    let permission = given(&user, &subject);
    let permission = permission.ok_or_else(|| missing(&name, &subject))?;
    Ok(Json(shown(&user, &subject, permission)))
}

fn missing(name: &str, subject: &Subject) -> Refusal {
    Refusal::missing(format!("{} not found", described(name, subject)))
}

pub(super) async fn update(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let keeper = keeper(&state)?;
    let (name, subject) = asked(&caller, &args)?;
    let permission = permission(&args)?;
    let user = keeper.user(&name).await.map_err(named)?;
    if given(&user, &subject).is_none() {
        return Err(missing(&name, &subject));
    }
    let because = caller.because(&format!("{permission} given"));
    keeper.give(&name, subject, permission, because).await.map_err(named)?;
    Ok(Json(json!({})))
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let keeper = keeper(&state)?;
    let (name, subject) = asked(&caller, &args)?;
    let because = caller.because("permission taken back");
    let before = keeper.take_back(&name, subject.clone(), because).await.map_err(named)?;
    match before {
        Some(_) => Ok(Json(json!({}))),
        None => Err(missing(&name, &subject)),
    }
}
