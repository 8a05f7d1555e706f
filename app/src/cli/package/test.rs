//! `rondo package test`.

use rondo_core::Code;
use serde_json::json;

use super::{find, service};
use crate::cli::Session;
use crate::cli::failure::{Failure, Outcome};
use crate::platform::packages::{self, Bench};

/// Run a package's own tests, in a temporary place
#[derive(clap::Args)]
pub struct Args {
    /// Its folder, name or Git address
    #[arg(value_name = "PACKAGE", default_value = ".")]
    package: String,
    /// The tests wanted; all where none is named
    #[arg(value_name = "TEST")]
    tests: Vec<String>,
}

/// Runs them.
///
/// # Errors
/// When there is no such package or test, or a test fails.
pub async fn run(args: &Args, session: &Session) -> Outcome {
    let found = find(session, &args.package)?;
    let package = &found.package;
    if let Some(name) = args.tests.iter().find(|name| !package.tests.contains(name)) {
        let near = rondo_core::suggest::nearest(name, package.tests.names());
        let hint = near.map_or_else(
            || format!("its tests are {}", package.tests.names().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Failure::hinted(Code::Usage, format!("find test `{name}` of `{}`", package.name), hint));
    }
    let bench = Bench::new(package, &found.root, session.config().clone())?;
    let mut results = Vec::new();
    for (name, test) in package.tests.iter() {
        if args.tests.is_empty() || args.tests.iter().any(|wanted| wanted == name) {
            let result = if package.app {
                Box::pin(service::test(&bench, package, &found.uses, name, test)).await?
            } else {
                Box::pin(packages::test(&bench, package, &found.uses, name, test)).await?
            };
            let mark = match (&result.skipped, result.problems.is_empty()) {
                (Some(why), _) => format!("skipped: {why}"),
                (None, true) => format!("ok  ({:.1} s)", result.seconds),
                (None, false) => format!("failed  ({:.1} s)", result.seconds),
            };
            session.printer().note(&format!("{name:<40} {mark}"));
            for problem in &result.problems {
                session.printer().note(&format!("  {}", problem.replace('\n', "\n  ")));
            }
            results.push(result);
        }
    }
    let failed = results.iter().filter(|result| !result.problems.is_empty()).count();
    let skipped = results.iter().filter(|result| result.skipped.is_some()).count();
    let value = json!({
        "schema": 1, "package": package.name, "passed": failed == 0, "tests": results,
    });
    let text = match (results.len(), failed) {
        (0, _) => format!("{} has no tests\n", package.name),
        (all, 0) if skipped > 0 => {
            format!("{}: {} of {all} tests pass, {skipped} skipped\n", package.name, all - skipped)
        }
        (all, 0) => format!("{}: {all} of {all} tests pass\n", package.name),
        (all, failed) => format!("{}: {failed} of {all} tests fail\n", package.name),
    };
    if failed == 0 {
        session.printer().result(&value, &text);
        return Ok(());
    }
    let message = text.trim_end().to_owned();
    Err(Failure::new(Code::ChecksFailed, message.clone()).judged(format!("error: {message}\n"), value))
}
