//! What a step may see: the system, its environment, what it declares, and folders of its own.
//!
//! The names of the project's files may be seen at the level `landlock`, their contents not: programs look
//! through the folder of a script for the modules beside it, and would otherwise not even ask for one that is
//! declared.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rondo_core::handoff::StepInputs;

use crate::builtins::linked;
use crate::code::inside;
use crate::environment::provision::Provisioned;

/// What belongs to the system.
const SYSTEM: [&str; 15] = [
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr",
    "/etc",
    "/opt",
    "/nix",
    "/gnu",
    "/snap",
    "/var/lib/texmf",
    "/var/cache/fontconfig",
    "/run/systemd/resolve",
];

/// What lies beside a folder of programs and belongs to them.
const BESIDE_PROGRAMS: [&str; 5] = ["lib", "lib64", "libexec", "share", "include"];

/// Variables that name places which programs need.
const NAMING: [&str; 10] = [
    "JAVA_HOME",
    "R_HOME",
    "PYENV_ROOT",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
];

/// What a step may see.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The project's folder.
    pub project: PathBuf,
    /// Where its commands run.
    pub folder: PathBuf,
    /// What belongs to the system and to the tools on the `PATH`.
    pub tools: Vec<PathBuf>,
    /// What it declares, and its environment.
    pub readable: Vec<PathBuf>,
    /// Where its inputs and the links in them lead.
    pub linked: Vec<PathBuf>,
    /// Folders whose names may be seen, and no contents.
    pub listed: Vec<PathBuf>,
    /// What it may write to.
    pub writable: Vec<PathBuf>,
    /// Its folder for temporary files.
    pub temporary: PathBuf,
    /// Whether it may use the network.
    pub network: bool,
    /// The port of the tracking server, on the loopback.
    pub tracking: Option<u16>,
    /// A root file system of its own.
    pub root: Option<PathBuf>,
}

/// What is known of a step before it runs.
pub struct Given<'a> {
    /// The project's folder.
    pub project: &'a Path,
    /// The store's.
    pub store: &'a Path,
    /// The folder of this try.
    pub work: &'a Path,
    /// Where its commands run.
    pub folder: &'a Path,
    /// Its contract.
    pub contract: &'a StepInputs,
    /// Its code, relative to the project.
    pub code: Vec<&'a str>,
    /// Its environment.
    pub environment: Option<&'a Provisioned>,
    /// Its variables.
    pub variables: &'a BTreeMap<String, String>,
    /// Whether it may use the network.
    pub network: bool,
    /// The home folder of who runs it.
    pub home: Option<&'a Path>,
}

impl Surroundings {
    /// Of a step.
    ///
    /// # Errors
    /// When its inputs cannot be looked through, in words.
    pub fn of(given: &Given<'_>) -> Result<Self, String> {
        let contract = given.contract;
        let hidden = [given.project, given.store];
        let mut tools: Vec<PathBuf> =
            SYSTEM.iter().map(PathBuf::from).filter(|place| place.exists()).collect();
        let home = Home::new(given.home);
        tools.extend(of_variables(given.variables, &home));
        let environment = given.environment;
        let places = environment.iter().flat_map(|environment| &environment.places);
        tools.extend(places.flat_map(|place| home.interpreter(place)));
        let virtuals = virtual_environments(given.variables);
        tools.extend(virtuals.iter().flat_map(|venv| led_to(&venv.join("bin"), &home)));
        let mut tools: Vec<PathBuf> = tools.iter().flat_map(|place| around(place, &hidden)).collect();
        tools.sort_unstable();
        tools.dedup();
        // What lies in another is there already.
        let mut kept: Vec<PathBuf> = Vec::new();
        for place in tools {
            if !kept.iter().any(|outer| !outer.is_symlink() && place.starts_with(outer)) {
                kept.push(place);
            }
        }
        let own = |name: &str| given.work.join(name);
        let code = given.code.iter().filter_map(|path| inside(given.project, path.trim_end_matches('/')));
        let mut readable: Vec<PathBuf> = code.collect();
        readable.extend(environment.map(|environment| environment.folder.clone()));
        readable
            .extend(virtuals.iter().flat_map(|venv| VENV.map(|name| venv.join(name))).filter(|p| p.exists()));
        // What Rondo itself lays beside the step: its inputs, the programs and the text of SQL, the copy of a
        // package.
        let laid = ["step.json", "run.py", "script.sql", "package", "in"].map(own);
        readable.extend(laid.into_iter().filter(|place| place.exists()));
        let metrics = contract.metrics.iter().filter_map(|place| place.parent().map(Path::to_owned));
        let folders = [own("out"), own("scratch"), own("tmp"), own("home")];
        let writable = folders.into_iter().chain(metrics).filter(|place| place.exists()).collect();
        let mut links = linked(contract.inputs.values()).map_err(|error| error.to_string())?;
        links.extend(contract.inputs.values().filter(|place| place.is_symlink()).cloned());
        let real = |place: &PathBuf| place.canonicalize().unwrap_or_else(|_| place.clone());
        Ok(Self {
            project: given.project.to_owned(),
            folder: given.folder.to_owned(),
            tools: kept,
            readable,
            linked: links.iter().map(real).collect(),
            listed: vec![given.project.to_owned()],
            writable,
            temporary: own("tmp"),
            network: given.network,
            tracking: given.variables.get("MLFLOW_TRACKING_URI").and_then(|address| loopback_port(address)),
            root: None,
        })
    }

    /// What belongs to the system and to tools.
    pub fn system(&self) -> Vec<PathBuf> {
        self.tools.clone()
    }

    /// All places that a step needs from outside of a root file system of its own.
    pub fn needed<'a>(&'a self, own: &'a [PathBuf]) -> impl Iterator<Item = &'a Path> {
        let all =
            self.readable.iter().chain(&self.linked).chain(&self.writable).chain(own).chain(&self.listed);
        all.map(PathBuf::as_path).chain([self.folder.as_path()])
    }

    /// Whether a place of the project is declared, or made by the step itself.
    pub fn knows(&self, place: &Path) -> bool {
        let mut known = self.readable.iter().chain(&self.linked).chain(&self.writable);
        known.any(|known| place.starts_with(known))
    }

    /// Whether a step may write there.
    pub fn may_write(&self, place: &Path) -> bool {
        self.writable.iter().any(|known| place.starts_with(known))
    }
}

/// The port in an address of this machine's loopback.
fn loopback_port(address: &str) -> Option<u16> {
    let rest = address.strip_prefix("http://")?;
    let rest = rest.strip_prefix("127.0.0.1:").or_else(|| rest.strip_prefix("localhost:"))?;
    rest.split('/').next()?.parse().ok()
}

/// A home folder, as it is written and as it is: what lies in it is somebody's own.
struct Home(Vec<PathBuf>);

impl Home {
    fn new(home: Option<&Path>) -> Self {
        let home = home.filter(|home| home.is_absolute());
        let real = home.and_then(|home| home.canonicalize().ok());
        Self(home.map(Path::to_owned).into_iter().chain(real).collect())
    }

    /// Whether a place is it, or around it.
    fn is_in(&self, place: &Path) -> bool {
        self.0.iter().any(|home| home.starts_with(place))
    }

    fn has(&self, place: &Path) -> bool {
        self.0.iter().any(|home| place.starts_with(home))
    }

    /// Whether programs lie beside what is no business of theirs: in it, or in its `.local`.
    fn is_shared(&self, place: &Path) -> bool {
        self.is_in(place) || self.0.iter().any(|home| place == home.join(".local"))
    }

    /// What belongs to an interpreter that is installed in a folder: all of it, where nothing else lies there.
    fn interpreter(&self, place: &Path) -> Vec<PathBuf> {
        if !self.is_shared(place) {
            return vec![place.to_owned()];
        }
        let library = fs::read_dir(place.join("lib")).into_iter().flatten().flatten();
        let is_its = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("python3");
        let own = library.filter(is_its).map(|entry| entry.path());
        own.chain([place.join("bin")]).filter(|place| place.exists()).collect()
    }
}

/// Where the links in a folder of programs lead to: the programs, and what lies beside them.
fn led_to(folder: &Path, home: &Home) -> Vec<PathBuf> {
    let mut places = Vec::new();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink())) {
        let Ok(program) = entry.path().canonicalize() else { continue };
        let bin = program.parent().filter(|bin| bin.file_name().is_some_and(|name| name == "bin"));
        match bin.and_then(Path::parent).filter(|above| !home.is_shared(above)) {
            Some(above) => {
                let beside = BESIDE_PROGRAMS.iter().chain(&["bin", "pyvenv.cfg"]);
                places.extend(beside.map(|name| above.join(name)));
            }
            None => places.push(program),
        }
    }
    places
}

/// The places that the `PATH` and its like lead to, where they are not the system's. What lies beside a
/// folder of programs in the home folder is not theirs alone, and stays hidden.
fn of_variables(variables: &BTreeMap<String, String>, home: &Home) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for folder in variables.get("PATH").map(|path| path.split(':')).into_iter().flatten().map(Path::new) {
        if !folder.is_absolute() {
            continue;
        }
        let above = folder.parent().filter(|above| above.parent().is_some());
        match (folder.file_name().and_then(|name| name.to_str()), above) {
            // The programs there only find the ones that are meant.
            (Some("shims"), Some(above)) => places.push(above.to_owned()),
            _ if home.has(folder) => places.extend(led_to(folder, home)),
            (Some("bin" | "sbin"), Some(above)) => {
                places.extend(BESIDE_PROGRAMS.iter().map(|name| above.join(name)));
            }
            _ => {}
        }
        places.push(folder.to_owned());
    }
    let named = NAMING.iter().filter_map(|name| variables.get(*name));
    places.extend(
        named.flat_map(|value| value.split(':')).map(PathBuf::from).filter(|place| place.is_absolute()),
    );
    places.retain(|place| place.exists() && !home.is_in(place));
    places
}

/// What an interpreter of a virtual environment reads of it.
const VENV: [&str; 5] = ["bin", "lib", "lib64", "include", "pyvenv.cfg"];

/// The virtual environments of Python whose programs are on the `PATH`, wherever they lie: an active one
/// lies in the project more often than not.
fn virtual_environments(variables: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let folders = variables.get("PATH").map(|path| path.split(':')).into_iter().flatten().map(Path::new);
    let above =
        folders.filter(|folder| folder.is_absolute() && folder.ends_with("bin")).filter_map(Path::parent);
    above.filter(|above| above.join("pyvenv.cfg").is_file()).map(Path::to_owned).collect()
}

/// A place without what is hidden in it: itself where there is nothing, else what lies around that.
fn around(place: &Path, hidden: &[&Path]) -> Vec<PathBuf> {
    if hidden.iter().any(|hidden| place.starts_with(hidden)) {
        return Vec::new();
    }
    if place.is_symlink() || !hidden.iter().any(|hidden| hidden.starts_with(place)) {
        return vec![place.to_owned()];
    }
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.flat_map(|entry| around(&entry.path(), hidden)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_inside_of_a_folder_of_the_system_stays_hidden() {
        let folder = tempfile::tempdir().unwrap();
        for place in ["opt/app/lib", "opt/work/p/data", "opt/work/q"] {
            fs::create_dir_all(folder.path().join(place)).unwrap();
        }
        let (opt, project) = (folder.path().join("opt"), folder.path().join("opt/work/p"));
        let mut seen = around(&opt, &[&project]);
        seen.sort_unstable();
        assert_eq!(seen, [opt.join("app"), opt.join("work/q")]);
        assert_eq!(around(&opt.join("app"), &[&project]), [opt.join("app")]);
        assert!(around(&project.join("data"), &[&project]).is_empty());
    }

    #[test]
    fn an_active_virtual_environment_of_the_project_is_readable_and_nothing_else_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("p");
        for place in ["p/.venv/bin", "p/.venv/lib/python3.12", "p/bin", "work"] {
            fs::create_dir_all(folder.path().join(place)).unwrap();
        }
        fs::write(project.join(".venv/pyvenv.cfg"), "home = /usr/bin\n").unwrap();
        fs::write(project.join("rows.csv"), "a\n").unwrap();
        let path = format!("{0}/.venv/bin:{0}/bin:/usr/bin", project.display());
        let contract = StepInputs {
            project: "p".into(),
            step: "s".into(),
            run: rondo_core::RunId::random(),
            key: rondo_core::Digest::of(b"k"),
            params: BTreeMap::new(),
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            read: Default::default(),
            metrics: None,
        };
        let surroundings = Surroundings::of(&Given {
            project: &project,
            store: &project.join(".rondo"),
            work: &folder.path().join("work"),
            folder: &project,
            contract: &contract,
            code: Vec::new(),
            environment: None,
            variables: &[("PATH".to_owned(), path)].into(),
            network: false,
            home: None,
        })
        .unwrap();
        for place in [".venv/pyvenv.cfg", ".venv/lib/python3.12/site.py", ".venv/bin/python"] {
            assert!(surroundings.knows(&project.join(place)), "{place}");
        }
        assert!(
            !surroundings.knows(&project.join("rows.csv")) && !surroundings.knows(&project.join("bin/x"))
        );
    }

    #[test]
    fn tools_bring_what_lies_beside_them_but_not_the_folder_above() {
        let folder = tempfile::tempdir().unwrap();
        for place in ["ann/.local/bin", "ann/.local/lib", "ann/.pyenv/shims", "ann/docs"] {
            fs::create_dir_all(folder.path().join(place)).unwrap();
        }
        let at = |path: &str| folder.path().join(path);
        let path =
            format!("{}:{}:relative", at("ann/.local/bin").display(), at("ann/.pyenv/shims").display());
        let places = of_variables(&[("PATH".to_owned(), path)].into(), &Home::new(None));
        for place in ["ann/.local/bin", "ann/.local/lib", "ann/.pyenv"] {
            assert!(places.contains(&at(place)), "{places:?}");
        }
        assert!(!places.contains(&at("ann/.local")) && !places.contains(&at("ann")), "{places:?}");
    }

    #[test]
    fn of_the_home_folder_programs_alone_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let at = |path: &str| root.join(path);
        for place in [
            "ann/.local/bin",
            "ann/.local/share/keyrings",
            "ann/.local/lib/x",
            "ann/.local/share/uv/py/bin",
            "ann/.local/share/uv/py/lib",
            "ann/bin",
            "ann/lib/python3.11",
            "ann/lib/own",
            "ann/shims",
            "opt/x/bin",
            "opt/x/lib",
        ] {
            fs::create_dir_all(at(place)).unwrap();
        }
        fs::write(at("ann/.local/share/uv/py/bin/python3"), "").unwrap();
        let link = at("ann/.local/bin/python3");
        std::os::unix::fs::symlink(at("ann/.local/share/uv/py/bin/python3"), link).unwrap();
        let home = Home::new(Some(&at("ann")));
        let path = ["ann/.local/bin", "ann/bin", "ann/shims", "ann", "opt/x/bin"];
        let path = path.map(|place| at(place).to_string_lossy().into_owned()).join(":");
        let named = ("R_HOME".to_owned(), at("ann").to_string_lossy().into_owned());
        let places = of_variables(&[("PATH".to_owned(), path), named].into(), &home);
        let is_seen = |place: &str| places.iter().any(|seen| at(place).starts_with(seen));
        for place in ["ann/.local/bin", "ann/bin", "ann/shims", "ann/.local/share/uv/py/lib", "opt/x/lib"] {
            assert!(is_seen(place), "{place}: {places:?}");
        }
        for place in ["ann/.local/share/keyrings", "ann/.local/lib/x", "ann/lib/own", "ann/docs"] {
            assert!(!is_seen(place), "{place}: {places:?}");
        }
        let mut own = home.interpreter(&at("ann"));
        own.sort_unstable();
        assert_eq!(own, [at("ann/bin"), at("ann/lib/python3.11")]);
        let place = at("ann/.local/share/uv/py");
        assert_eq!(home.interpreter(&place), [place]);
    }

    #[test]
    fn the_tracking_port_is_one_of_the_loopback() {
        assert_eq!(loopback_port("http://127.0.0.1:5000"), Some(5000));
        assert_eq!(loopback_port("http://localhost:5000/x"), Some(5000));
        for address in ["https://127.0.0.1:1", "http://example.org:80", "http://127.0.0.1:x", ""] {
            assert_eq!(loopback_port(address), None);
        }
    }
}
