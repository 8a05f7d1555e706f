//! Web pages that come instead of data: a login, a notice, the page about a file. A server calls them a
//! success, and a reader of CSV would find rows in them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::Error;

/// So much of a file is looked at.
const LOOKED_AT: u64 = 1024;

/// Refuses a web page.
///
/// # Errors
/// When it is one, or cannot be read.
pub(crate) fn refuse(path: &Path, kind: Option<&str>, what: &str) -> Result<(), Error> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(Error::io("open", path))?;
    file.take(LOOKED_AT).read_to_end(&mut head).map_err(Error::io("read", path))?;
    if !is_page(&head, kind) {
        return Ok(());
    }
    Err(Error::SourceUnavailable {
        what: what.to_owned(),
        reason: "the server sent a web page instead of a table".to_owned(),
        hint: Some(
            "open the address in a browser: it may ask for a login, or the file itself have another address"
                .to_owned(),
        ),
    })
}

/// Whether bytes begin a web page: as they say themselves, or as the server says of what begins with a tag.
fn is_page(head: &[u8], kind: Option<&str>) -> bool {
    let text = String::from_utf8_lossy(head).to_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let is_html = kind.is_some_and(|kind| {
        let kind = kind.trim_start().to_lowercase();
        kind.starts_with("text/html") || kind.starts_with("application/xhtml")
    });
    ["<!doctype html", "<html", "<head"].iter().any(|begin| text.starts_with(begin))
        || is_html && text.starts_with('<')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_by_how_it_begins_and_what_the_server_calls_it() {
        let html = Some("text/html; charset=utf-8");
        assert!(is_page(b"\xef\xbb\xbf\n<!DOCTYPE html><title>Log in</title>", None));
        assert!(is_page(b"<HTML>", Some("text/csv")) && is_page(b" <script>", html));
        // A table that is called a page is a table, and a column may be called as a tag.
        assert!(!is_page(b"a,b\n1,2\n", html) && !is_page(b"<a>,b\n", Some("text/csv")));
        assert!(!is_page(b"", html) && !is_page(b"[{\"a\": \"<html>\"}]", None));
    }
}
