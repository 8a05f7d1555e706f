//! The shapes of what a team shares: remotes, and the cache of steps that lies in one.

use super::{Form, Key, Shape, key};

pub(super) static CACHE: Shape = Shape {
    noun: "a shared cache",
    keys: &[
        key("remote", Form::Name, "The remote that it lies in, by its name in `remotes:`.").required(),
        key(
            "from",
            Form::OneOrMore(&Form::Text),
            "Branches whose steps every branch may take; `main` where absent.",
        ),
        key("trust", Form::List(&Form::Object(&TRUST)), "Who may give, and from which branches.")
            .required()
            .elsewhere(&["keys", "trusted"]),
    ],
    rules: &[],
};

static TRUST: Shape = Shape {
    noun: "a trusted key",
    keys: &[
        key("key", Form::Text, "The public key, as `rondo pipeline cache-key` prints it.")
            .required()
            .elsewhere(&["public_key"]),
        key(
            "branches",
            Form::OneOrMore(&Form::Text),
            "Branches whose steps it may sign. `*` stands for anything, but never for a branch that another key names.",
        )
        .required()
        .elsewhere(&["branch"]),
    ],
    rules: &[],
};

/// The remotes of a project.
pub(super) const REMOTES: Key = key(
    "remotes",
    Form::Map(&Form::Text),
    "Where objects are kept for the team: a folder, or a bucket such as `s3://bucket/prefix`.",
)
.elsewhere(&["remote", "storage"]);

/// The cache that lies in one of them.
pub(super) const CACHE_KEY: Key =
    key("cache", Form::Object(&CACHE), "The cache of steps that a team shares.").elsewhere(&["shared_cache"]);
