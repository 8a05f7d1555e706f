//! The host as an environment: what a step without a declared environment finds.
//!
//! Its tools are recorded, not locked: an environment is declared by whoever wants more than that.

use std::collections::BTreeMap;

pub use rondo_process::program::{find_program, is_program, search_path};

/// Variables of the caller that reach a step as they are: where things are, and how the network is
/// reached. Everything else is left behind, so that a result does not depend on it.
const PASSED: [&str; 29] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "JAVA_HOME",
    "R_HOME",
    "JULIA_DEPOT_PATH",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "CUDA_VISIBLE_DEVICES",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
];

/// Beginnings of further names that pass.
const PASSED_PREFIXES: [&str; 2] = ["PIP_", "UV_"];

/// Beginnings of names that reach the tools which make environments, and no step: where they keep what they
/// have, and how they are set up.
const FOR_TOOLS: [&str; 7] =
    ["NIX_", "CONDA_", "MAMBA_", "CONTAINER", "DOCKER_", "REGISTRY_AUTH_FILE", "XDG_"];

/// The variables of the tools that make environments and start containers.
pub fn tool_variables(host: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut variables = base_variables(host);
    let for_tools = host.iter().filter(|(name, _)| FOR_TOOLS.iter().any(|prefix| name.starts_with(prefix)));
    variables.extend(for_tools.map(|(name, value)| (name.clone(), value.clone())));
    // What happens to be active is not what is meant.
    variables
        .retain(|name, _| !["CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL"].contains(&name.as_str()));
    variables
}

/// The moment that tools which honour `SOURCE_DATE_EPOCH` write instead of now: the first of 1980, before
/// which a zip file has no times.
const SOURCE_DATE: &str = "315532800";

/// The variables that every step has before its own are added: some of the caller's, and some that make
/// results the same everywhere.
pub fn base_variables(host: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let passes =
        |name: &str| PASSED.contains(&name) || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let mut variables: BTreeMap<String, String> = host
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    variables.entry("PATH".to_owned()).or_insert_with(|| search_path(host).to_owned());
    let fixed = [
        ("LANG", "C.UTF-8"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("PYTHONHASHSEED", "0"),
        ("PYTHONUNBUFFERED", "1"),
        ("SOURCE_DATE_EPOCH", SOURCE_DATE),
    ];
    variables.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_passes_and_the_rest_is_fixed() {
        let host =
            [("PATH", "/bin"), ("SECRET", "x"), ("PIP_INDEX_URL", "i"), ("TZ", "Mars"), ("LANG", "de_DE")];
        let host = host.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let variables = base_variables(&host);
        assert_eq!(variables["PATH"], "/bin");
        assert_eq!(variables["PIP_INDEX_URL"], "i");
        assert_eq!((variables["TZ"].as_str(), variables["LANG"].as_str()), ("UTC", "C.UTF-8"));
        assert!(!variables.contains_key("SECRET"));
    }
}
