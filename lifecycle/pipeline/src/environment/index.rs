//! Where packages come from: what pip is told, told to uv, which reads neither pip's files nor its
//! variables.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The variables for `uv` that say the same as pip's configuration; those of uv's own that are set win.
pub(super) fn for_uv(host: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for file in config_files(host) {
        settings.extend(fs::read_to_string(file).map(|text| parse(&text)).unwrap_or_default());
    }
    for (name, variable) in [
        ("index-url", "PIP_INDEX_URL"),
        ("extra-index-url", "PIP_EXTRA_INDEX_URL"),
        ("find-links", "PIP_FIND_LINKS"),
        ("cert", "PIP_CERT"),
    ] {
        if let Some(value) = host.get(variable).filter(|value| !value.trim().is_empty()) {
            settings.insert(name.to_owned(), value.clone());
        }
    }
    let mut variables = BTreeMap::new();
    let unset = |names: &[&str]| !names.iter().any(|name| host.contains_key(*name));
    if let Some(url) = settings.get("index-url").filter(|_| unset(&["UV_INDEX_URL", "UV_DEFAULT_INDEX"])) {
        variables.insert("UV_DEFAULT_INDEX".to_owned(), url.clone());
    }
    if let Some(urls) = settings.get("extra-index-url").filter(|_| unset(&["UV_INDEX", "UV_EXTRA_INDEX_URL"]))
    {
        variables.insert("UV_INDEX".to_owned(), urls.clone());
    }
    if let Some(links) = settings.get("find-links").filter(|_| unset(&["UV_FIND_LINKS"])) {
        // uv refuses a folder that is not there; pip passes over it.
        let there: Vec<&str> = links
            .split_whitespace()
            .filter(|link| link.contains("://") || Path::new(link).is_dir())
            .collect();
        if !there.is_empty() {
            variables.insert("UV_FIND_LINKS".to_owned(), there.join(","));
        }
    }
    if let Some(cert) = settings.get("cert").filter(|_| unset(&["SSL_CERT_FILE", "SSL_CERT_DIR"])) {
        variables.insert("SSL_CERT_FILE".to_owned(), cert.clone());
    }
    variables
}

/// pip's configuration files, the stronger later.
fn config_files(host: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/pip.conf"), PathBuf::from("/etc/xdg/pip/pip.conf")];
    if let Some(home) = host.get("HOME").map(Path::new) {
        files.push(home.join(".pip/pip.conf"));
        let config = host.get("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
        files.push(config.join("pip/pip.conf"));
    }
    files.extend(host.get("PIP_CONFIG_FILE").map(PathBuf::from));
    files
}

/// The settings of `[global]` and `[install]`; values that go on over several lines are joined.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = BTreeMap::new();
    let (mut counts, mut last) = (false, None::<String>);
    for line in text.lines().filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        if let Some(section) = line.trim().strip_prefix('[') {
            counts = matches!(section.trim_end_matches(']'), "global" | "install");
            last = None;
        } else if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name| settings.get_mut(name)) {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once('=').filter(|_| counts) {
            let name = name.trim().replace('_', "-");
            settings.insert(name.clone(), value.trim().to_owned());
            last = Some(name);
        }
    }
    settings.retain(|_, value| !value.trim().is_empty());
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pips_settings_become_uvs_unless_uv_has_its_own() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(".config/pip")).unwrap();
        let text = "[global]\nindex-url = https://mirror.example/simple\nextra_index_url =\n  https://a.example\n  https://b.example\n[other]\ncert = x\n";
        fs::write(home.path().join(".config/pip/pip.conf"), text).unwrap();
        let mut host: BTreeMap<String, String> =
            [("HOME".to_owned(), home.path().to_string_lossy().into_owned())].into();
        let variables = for_uv(&host);
        assert_eq!(variables["UV_DEFAULT_INDEX"], "https://mirror.example/simple");
        assert_eq!(variables["UV_INDEX"].split_whitespace().count(), 2);
        host.insert("PIP_INDEX_URL".to_owned(), "https://stronger.example".to_owned());
        assert_eq!(for_uv(&host)["UV_DEFAULT_INDEX"], "https://stronger.example");
        host.insert("UV_INDEX_URL".to_owned(), "https://own.example".to_owned());
        host.insert("PIP_FIND_LINKS".to_owned(), "/no/such/folder".to_owned());
        let variables = for_uv(&host);
        assert!(!variables.contains_key("UV_DEFAULT_INDEX") && !variables.contains_key("UV_FIND_LINKS"));
    }
}
