//! What is damaged in the store and whole in a remote of the project is fetched from there, so that nothing has to
//! be made again, and what nobody here can make goes on.

use std::sync::Arc;

use rondo_core::Digest;
use rondo_core::ports::Event;
use rondo_core::run::Link;
use rondo_remote::Remote;
use rondo_store::Objects;

use super::session::Session;
use crate::Error;
use crate::execute::outputs::chain;
use crate::execute::process::cancelled;

/// Opens the remotes of a project: only what is damaged asks for them.
pub type Remotes = Arc<dyn Fn() -> Vec<Remote> + Send + Sync>;

/// Fetches what of some objects is damaged. Whether all of them are whole now; false where everything is to stop.
///
/// # Errors
/// When the task that looks comes to a bad end. What is wrong with a remote is only told.
pub async fn heal(session: &Session, subject: &str, links: &[Link]) -> Result<bool, Error> {
    let Some(remotes) = &session.remotes else { return Ok(false) };
    let mut cancel = session.cancel.clone();
    tokio::select! {
        biased;
        () = cancelled(&mut cancel) => Ok(false),
        healed = fetched(session, subject, links, remotes) => healed,
    }
}

async fn fetched(session: &Session, subject: &str, links: &[Link], remotes: &Remotes) -> Result<bool, Error> {
    let objects = session.store.objects();
    let mut broken = damage(objects, links).await?;
    for remote in remotes() {
        let mut from_here = false;
        while let Some(before) = broken.as_deref().filter(|broken| !broken.is_empty()) {
            // Each as a file: what a listing names is asked for in the next round.
            let view = objects.doubting(before.iter().copied());
            if let Err(error) = remote.pull_whole(&view, before, &*session.progress).await {
                let message = format!("nothing can be had from `{}`: {}", remote.address(), chain(&error));
                session.progress.report(Event::Note { subject: subject.to_owned(), message });
            }
            if view.doubted().len() == before.len() {
                break;
            }
            from_here = true;
            broken = damage(objects, links).await?;
        }
        if from_here {
            let message = format!("what was damaged in the store was fetched from `{}`", remote.address());
            session.progress.report(Event::Note { subject: subject.to_owned(), message });
        }
    }
    Ok(broken.is_some_and(|broken| broken.is_empty()))
}

/// What of some objects is damaged; nothing where something is not here at all.
async fn damage(objects: &Objects, links: &[Link]) -> Result<Option<Vec<Digest>>, Error> {
    let (objects, links) = (objects.clone(), links.to_vec());
    let look = move || {
        let mut broken = Vec::new();
        for link in links {
            broken.extend(objects.damage(link.digest, link.folder).ok()?);
        }
        broken.sort_unstable();
        broken.dedup();
        Some(broken)
    };
    Ok(tokio::task::spawn_blocking(look).await?)
}
