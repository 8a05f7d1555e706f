//! `rondo package check`.

use serde_json::json;

use super::find;
use crate::cli::Session;
use crate::cli::failure::Outcome;
use crate::cli::output::counted;

/// Check a package, and the packages that it uses: every fault in one go
#[derive(clap::Args)]
pub struct Args {
    /// Its folder, name or Git address
    #[arg(value_name = "PACKAGE", default_value = ".")]
    package: String,
}

/// Checks it.
///
/// # Errors
/// When there is none, or it has faults.
pub fn run(args: &Args, session: &Session) -> Outcome {
    let found = find(session, &args.package)?;
    let package = &found.package;
    let value = json!({
        "schema": 1, "package": package.name, "version": package.version, "uses": found.uses,
        "run": package.run.word(), "tests": package.tests.len(),
    });
    let text = format!(
        "{} {}: {} {} with {} and {}, without a fault\n",
        package.name,
        package.version,
        // Read letter by letter.
        if package.run.word() == "sql" { "an" } else { "a" },
        package.run.word(),
        counted(package.with.len() as u64, "parameter"),
        counted(package.tests.len() as u64, "test")
    );
    session.printer().result(&value, &text);
    Ok(())
}
