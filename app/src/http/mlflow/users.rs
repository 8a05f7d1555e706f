//! `users/*`: those of MLflow's basic-auth app that its client calls.

use axum::Json;
use axum::extract::State;
use rondo_core::access::Role;
use rondo_store::meta::access::Account;
use serde::Serialize;
use serde_json::{Value, json};

use super::MlflowState;
use super::args::Args;
use super::refusal::{Answer, Refusal};
use crate::http::access::keeper::UserError;
use crate::http::access::{Caller, Denied, Keeper};

/// A user as MLflow's client reads it. Its password is nobody's to see.
#[derive(Serialize)]
struct UserShown {
    id: i64,
    username: String,
    is_admin: bool,
    experiment_permissions: Vec<Value>,
    registered_model_permissions: Vec<Value>,
    scorer_permissions: Vec<Value>,
}

impl From<Account> for UserShown {
    fn from(account: Account) -> Self {
        let id = account.id;
        let mut experiments: Vec<_> = account.experiments.into_iter().collect();
        experiments.sort();
        let mut models: Vec<_> = account.models.into_iter().collect();
        models.sort();
        let experiments = experiments.into_iter().map(|(experiment, permission)| {
            json!({ "experiment_id": experiment.to_string(), "user_id": id, "permission": permission })
        });
        let models = models
            .into_iter()
            .map(|(name, permission)| json!({ "name": name, "user_id": id, "permission": permission }));
        Self {
            id,
            username: account.name,
            is_admin: account.role == Role::Admin,
            experiment_permissions: experiments.collect(),
            registered_model_permissions: models.collect(),
            scorer_permissions: Vec::new(),
        }
    }
}

/// The users of this server, where it has any.
pub(super) fn keeper(state: &MlflowState) -> Answer<&Keeper> {
    let message = "This server was started without access control: it has no users";
    state.door.keeper().ok_or_else(|| Refusal::no_endpoint(message))
}

/// An error of the store in the words that MLflow's client is used to.
pub(super) fn named(error: rondo_store::Error) -> Refusal {
    use rondo_core::Code;
    match error {
        rondo_store::Error::NotFound { code: Code::UserNotFound, name, .. } => {
            Refusal::missing(format!("User with username={name} not found"))
        }
        rondo_store::Error::Exists { code: Code::UserExists, name, .. } => {
            Refusal::exists(format!("User (username={name}) already exists."))
        }
        rondo_store::Error::NotFound { code: Code::ExperimentNotFound, name, .. } => {
            Refusal::missing(format!("No Experiment with id={name} exists"))
        }
        rondo_store::Error::NotFound { code: Code::ModelNotFound, name, .. } => {
            Refusal::missing(format!("Registered Model with name={name} not found"))
        }
        rondo_store::Error::LastAdmin { name } => {
            Refusal::invalid(format!("User (username={name}) is the last administrator"))
        }
        other => other.into(),
    }
}

fn refused(error: UserError) -> Refusal {
    match error {
        UserError::Name { name, reason } => Refusal::invalid(format!("Invalid username '{name}': {reason}")),
        UserError::Password { reason } => {
            Refusal::invalid(format!("Password must be a string of at least 12 characters: {reason}"))
        }
        UserError::Hash(_) => Refusal::internal("The password could not be hashed"),
        UserError::Store(error) => named(error),
    }
}

/// The administrator, or the user itself.
fn admin_or(caller: &Caller, name: &str) -> Result<(), Denied> {
    if caller.is_admin() || caller.is_user(name) { Ok(()) } else { Err(Denied) }
}

pub(super) async fn create(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let keeper = keeper(&state)?;
    let (name, password) = (args.text("username")?, args.text("password")?);
    let (name, password) = (name.unwrap_or_default(), password.unwrap_or_default());
    if name.is_empty() || password.is_empty() {
        return Err(Refusal::invalid("Username and password cannot be empty."));
    }
    keeper.create(&name, password, caller.because("user made")).await.map_err(refused)?;
    let user = keeper.user(&name).await.map_err(named)?;
    Ok(Json(json!({ "user": UserShown::from(user) })))
}

pub(super) async fn get(State(state): State<MlflowState>, caller: Caller, args: Args) -> Answer<Json<Value>> {
    let keeper = keeper(&state)?;
    let name = args.required("username")?;
    admin_or(&caller, &name)?;
    let user = keeper.user(&name).await.map_err(named)?;
    Ok(Json(json!({ "user": UserShown::from(user) })))
}

pub(super) async fn list(State(state): State<MlflowState>) -> Answer<Json<Value>> {
    let users = keeper(&state)?.users().await?.into_iter();
    let users: Vec<Value> = users.map(|user| json!({ "id": user.id, "username": user.name })).collect();
    Ok(Json(json!({ "users": users })))
}

pub(super) async fn update_password(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let keeper = keeper(&state)?;
    let (name, password) = (args.required("username")?, args.maybe("password")?);
    admin_or(&caller, &name)?;
    keeper.set_password(&name, password, caller.because("password set")).await.map_err(refused)?;
    Ok(Json(json!({})))
}

pub(super) async fn update_admin(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let keeper = keeper(&state)?;
    let name = args.required("username")?;
    let user = keeper.user(&name).await.map_err(named)?;
    let role = match (args.flag("is_admin")?, user.role) {
        (None, _) => return Err(Refusal::invalid("Missing value for required parameter 'is_admin'.")),
        (Some(true), _) => Role::Admin,
        (Some(false), Role::Admin) => Role::Member,
        (Some(false), role) => role,
    };
    let because = caller.because(&format!("role set to {role}"));
    keeper.set_role(&name, role, because).await.map_err(named)?;
    Ok(Json(json!({})))
}

pub(super) async fn delete(
    State(state): State<MlflowState>,
    caller: Caller,
    args: Args,
) -> Answer<Json<Value>> {
    let keeper = keeper(&state)?;
    let name = args.required("username")?;
    keeper.delete(&name, caller.because("user removed")).await.map_err(named)?;
    Ok(Json(json!({})))
}
