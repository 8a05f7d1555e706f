//! The words of access control: roles, permissions, rights, scopes.
//!
//! A **role** is a user's standing on the whole server, a **permission** what a user was given on one
//! experiment or registered model, a **right** what an action asks for, and a **scope** what a token may at
//! most. What they come to together is decided here and nowhere else; who is calling is for the server.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an action asks for, each with those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// See it.
    Read,
    /// Add to it and change it.
    Edit,
    /// Take away what is in it.
    Delete,
    /// Take it away itself, and say who else may.
    Manage,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$each:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$each])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Every one, the least first.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its word.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }

        impl FromStr for $name {
            type Err = NoWord;

            fn from_str(text: &str) -> Result<Self, NoWord> {
                let found = Self::ALL.iter().find(|word| word.text() == text);
                found.copied().ok_or(NoWord { what: $what, known: &[$($text,)*] })
            }
        }
    };
}

/// A word that access control does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such {what}: one of {}", known.join(", "))]
pub struct NoWord {
    what: &'static str,
    known: &'static [&'static str],
}

words! {
    /// What a user was given on one experiment or registered model, in the words of MLflow's protocol.
    Permission, "permission" {
        /// Nothing: it is as if it were not there.
        None = "NO_PERMISSIONS",
        /// See it.
        Read = "READ",
        /// See it and call it.
        Use = "USE",
        /// Add to it and change it.
        Edit = "EDIT",
        /// All of it.
        Manage = "MANAGE",
    }
}

impl Permission {
    /// Whether it gives a right.
    pub const fn gives(self, right: Right) -> bool {
        match self {
            Self::None => false,
            Self::Read | Self::Use => matches!(right, Right::Read),
            Self::Edit => matches!(right, Right::Read | Right::Edit),
            Self::Manage => true,
        }
    }
}

words! {
    /// A user's standing on the whole server.
    Role, "role" {
        /// Sees everything, makes nothing.
        Viewer = "viewer",
        /// Makes experiments and models of its own; of others' it has the server's default permission.
        Member = "member",
        /// Adds to everything.
        Editor = "editor",
        /// May do everything, and says who else may.
        Admin = "admin",
    }
}

impl Role {
    /// The permission it has on what it was given none for.
    pub const fn permission(self, default: Permission) -> Permission {
        match self {
            Self::Viewer => Permission::Read,
            Self::Member => default,
            Self::Editor => Permission::Edit,
            Self::Admin => Permission::Manage,
        }
    }

    /// Whether it makes experiments and models.
    pub const fn makes(self) -> bool {
        match self {
            Self::Viewer => false,
            Self::Member | Self::Editor | Self::Admin => true,
        }
    }
}

words! {
    /// What a token may at most, whoever its user is.
    Scope, "scope" {
        /// See.
        Read = "read",
        /// See, make, change and delete.
        Write = "write",
        /// All that its user may.
        Admin = "admin",
    }
}

impl Scope {
    /// Whether it leaves a right.
    pub const fn leaves(self, right: Right) -> bool {
        match self {
            Self::Read => matches!(right, Right::Read),
            Self::Write => matches!(right, Right::Read | Right::Edit | Right::Delete),
            Self::Admin => true,
        }
    }
}

/// The fewest characters of a password.
pub const PASSWORD_MIN: usize = 12;
/// The most bytes of a password: hashing a book is no way in, but it is work.
pub const PASSWORD_MAX: usize = 1024;

/// Why a password is not taken; nothing where it is.
pub fn weakness(name: &str, password: &str) -> Option<&'static str> {
    if password.chars().count() < PASSWORD_MIN {
        return Some("it has fewer than 12 characters");
    }
    if password.len() > PASSWORD_MAX {
        return Some("it has more than 1024 bytes");
    }
    if password.eq_ignore_ascii_case(name) {
        return Some("it is the user's name");
    }
    let mut chars = password.chars();
    let first = chars.next();
    if chars.all(|c| Some(c) == first) {
        return Some("it is one character over and over");
    }
    None
}

/// Why a user's name is not taken; nothing where it is.
pub fn misnomer(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > 255 {
        return Some("it has more than 255 bytes");
    }
    if name.contains(':') || name.chars().any(char::is_control) || name.trim() != name {
        return Some("it has a colon, a control character, or space at an end");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHTS: [Right; 4] = [Right::Read, Right::Edit, Right::Delete, Right::Manage];

    #[test]
    fn each_permission_gives_what_the_one_below_it_gives() {
        for pair in Permission::ALL.windows(2) {
            for right in RIGHTS {
                assert!(!pair[0].gives(right) || pair[1].gives(right), "{pair:?} {right:?}");
            }
        }
        assert!(RIGHTS.iter().all(|right| !Permission::None.gives(*right)));
        assert!(!Permission::Edit.gives(Right::Delete), "an editor deletes nothing");
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for permission in Permission::ALL {
            assert_eq!(permission.text().parse(), Ok(*permission));
        }
        assert_eq!("admin".parse(), Ok(Role::Admin));
        let unknown = "root".parse::<Role>().unwrap_err().to_string();
        assert_eq!(unknown, "no such role: one of viewer, member, editor, admin");
    }

    #[test]
    fn weak_passwords_and_odd_names_are_told_why() {
        assert_eq!(weakness("ada", "correct horse"), None);
        for weak in ["", "short", "eleven char", "aaaaaaaaaaaaaaaa"] {
            assert!(weakness("ada", weak).is_some(), "{weak:?}");
        }
        assert!(weakness("ada.lovelace", "ADA.lovelace").is_some());
        assert!(weakness("ada", &"ab".repeat(600)).is_some());
        assert_eq!(misnomer("ada@example.org"), None);
        for odd in ["", "a:b", "a\nb", " a", "a "] {
            assert!(misnomer(odd).is_some(), "{odd:?}");
        }
    }
}
