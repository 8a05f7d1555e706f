//! `rondo pipeline cache-key`.

use rondo_core::Code;
use rondo_pipeline::shared::KeyPair;
use serde_json::json;

use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};

/// Make a pair of keys for a shared cache: the secret half signs, the public half goes into `rondo.yaml`
#[derive(clap::Args)]
pub struct Args {}

/// Makes and prints it.
///
/// # Errors
/// When the system gives no random numbers.
pub fn run(_args: &Args, session: &Session) -> Outcome {
    let failed = |_| Failure::new(Code::Internal, "the system gives no random numbers".to_owned());
    let pair = KeyPair::random().map_err(failed)?;
    let text = format!(
        "public  {}\nsecret  {}\n\nThe public half goes under `cache: trust:` of rondo.yaml; the secret half into the \
         variable RONDO_CACHE_KEY of the machine that gives, and nowhere else.\n",
        pair.public(),
        pair.secret()
    );
    session
        .printer()
        .result(&json!({ "schema": 1, "public": pair.public(), "secret": pair.secret() }), &text);
    Ok(())
}
