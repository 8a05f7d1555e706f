//! Profiles a table and writes the profile's JSON: `profile TABLE`. For measurements of this crate alone.

use std::io::Write;

use rondo_table::profile::Profile;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [table] = arguments.as_slice() else {
        return Err(std::io::Error::other("profile TABLE"));
    };
    let profile = Profile::of_path(table.as_ref()).map_err(std::io::Error::other)?;
    let json = profile.to_json().map_err(std::io::Error::other)?;
    writeln!(std::io::stdout().lock(), "{json}")
}
