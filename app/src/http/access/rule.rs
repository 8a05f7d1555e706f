//! What a route can ask for.

use rondo_core::access::Right;

/// What kind of thing a right is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// An experiment, with its runs, logged models, traces and artifacts.
    Experiment,
    /// A registered model, with its versions and aliases.
    Model,
    /// What belongs to no one thing: pages, counts, requests.
    Server,
}

/// Which right a route needs. The handler names the thing that it is needed on to its
/// [`Caller`](super::Caller), unless the guard can decide it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: health and version.
    Public,
    /// An address with a signed right in it, which the handler looks at and at nothing else. Host and origin
    /// are looked at as for any other.
    Signed,
    /// To be known, whoever one is; the handler decides the rest, or there is nothing to decide.
    Known,
    /// To be known: the handler leaves out what the caller may not see.
    Listed(On),
    /// To make a new one.
    Make(On),
    /// To see it.
    Read(On),
    /// To add to it and change it.
    Edit(On),
    /// To take away what is in it.
    Delete(On),
    /// To take it away, or say who may what with it.
    Manage(On),
    /// To be an administrator.
    Admin,
}

impl Rule {
    /// The right that it needs.
    pub const fn right(self) -> Right {
        match self {
            Self::Public | Self::Signed | Self::Known | Self::Listed(_) | Self::Read(_) => Right::Read,
            Self::Make(_) | Self::Edit(_) => Right::Edit,
            Self::Delete(_) => Right::Delete,
            Self::Manage(_) | Self::Admin => Right::Manage,
        }
    }

    /// Whether the handler has to ask its caller about a thing, since only it knows which.
    pub const fn is_asked_by_the_handler(self) -> bool {
        match self {
            Self::Public | Self::Signed | Self::Known | Self::Make(_) | Self::Admin => false,
            Self::Listed(_) => true,
            Self::Read(on) | Self::Edit(on) | Self::Delete(on) | Self::Manage(on) => {
                !matches!(on, On::Server)
            }
        }
    }
}
