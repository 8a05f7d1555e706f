//! What one process of an app gets: a folder with its artifacts, its variables by the step contract, and a
//! place to listen.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rondo_core::mask::{Mask, Stream};
use rondo_core::{Code, Digest};
use rondo_pipeline::environment::host::{base_variables, find_program, search_path};
use rondo_pipeline::environment::provision::Provisioned;
use rondo_pipeline::execute::outputs::variable;
use rondo_pipeline::execute::process::Command;
use rondo_pipeline::execute::shell;
use rondo_pipeline::packages::{folder, params};
use rondo_project::project::App as Declared;
use rondo_project::substitute::{self, Scope, Values};
use rondo_store::objects::Lent;
use serde_json::{Value, json};

use super::health::Target;
use super::inputs::Given;
use super::log::AppLog;
use super::spec::{Spec, What, placed};
use crate::platform::{Error, Platform};

/// How long the path of a socket may be (`sun_path` has 108 bytes).
const SOCKET: usize = 100;

/// How the folders of sockets outside of the work folder begin.
const PREFIX: &str = "rondo-apps-";

/// The file in a folder of sockets that is locked while it is used.
const OWNER: &str = ".owner";

/// How old a folder of sockets is that nobody is about to lock.
const OLD: Duration = Duration::from_secs(60);

/// Variables that make a step's result the same everywhere; what answers the network is better off without
/// them.
const OF_STEPS: [&str; 2] = ["PYTHONHASHSEED", "SOURCE_DATE_EPOCH"];

/// What all processes of an app are made with.
pub(super) struct Bench {
    pub platform: Arc<Platform>,
    /// The folder of all that runs: its path in a process's environment marks it as ours.
    pub work: PathBuf,
    pub sockets: Arc<Sockets>,
    /// Where this server is reached.
    pub url: String,
    pub log: AppLog,
}

/// A process that can be started.
pub(super) struct Prepared {
    /// What is started; nothing where files are shown as they are.
    pub command: Option<Command>,
    /// Its text for the shell.
    pub text: String,
    /// The environment that it is started in, by name.
    pub environment: Option<String>,
    pub target: Target,
    pub token: String,
    /// What goes with the process.
    pub folder: PathBuf,
    pub lent: Vec<Lent>,
    /// Keeps its secrets out of what it says.
    pub mask: Stream,
}

/// The folder of sockets: nobody else may look into it.
pub(super) struct Sockets {
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    /// Its lock says that the folder is in use; the kernel lets go of it however this process ends.
    _owner: fs::File,
}

/// Removes the folders of sockets that killed processes have left: those whose lock nobody holds, and that
/// were not made this moment.
fn sweep(within: &Path, old: Duration) {
    let entries = fs::read_dir(within).into_iter().flatten().flatten();
    let ours = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(PREFIX);
    for folder in entries.filter(ours).map(|entry| entry.path()) {
        // Not through a link, and not what is somebody else's.
        let own = folder.symlink_metadata().ok().filter(|found| found.is_dir() && found.uid() == uid());
        let age = own.and_then(|found| found.modified().ok()?.elapsed().ok());
        if age.is_none_or(|age| age < old) {
            continue;
        }
        let free = match fs::File::open(folder.join(OWNER)) {
            Ok(owner) => owner.try_lock().is_ok(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if free {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

fn uid() -> u32 {
    // SAFETY: it has no memory effects and cannot fail.
    unsafe { libc::geteuid() }
}

impl Sockets {
    /// In the work folder, or elsewhere where its path is too long for a socket or has characters that a
    /// shell does not take as they are.
    pub fn new(work: &Path) -> Result<Self, Error> {
        let plain = |path: &Path| {
            let text = path.to_string_lossy();
            text.len() < SOCKET - 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c))
        };
        let folder = work.join("s");
        let (folder, temporary) = if plain(&folder) {
            fs::create_dir(&folder).map_err(Error::io("make", &folder))?;
            (folder, None)
        } else {
            let within = std::env::temp_dir();
            let within = if plain(&within) { within } else { PathBuf::from("/tmp") };
            sweep(&within, OLD);
            let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&within);
            let made = made.map_err(Error::io("make a folder in", &within))?;
            (made.path().to_owned(), Some(made))
        };
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(Error::io("protect", &folder))?;
        let place = folder.join(OWNER);
        let owner = fs::File::create(&place).map_err(Error::io("make", &place))?;
        owner.lock().map_err(Error::io("lock", &place))?;
        Ok(Self { folder, _temporary: temporary, _owner: owner })
    }
}

impl Bench {
    /// Makes what the next process gets.
    pub fn prepare(
        &self,
        spec: &Spec,
        declared: &Declared,
        given: &Given,
        environment: Option<&Provisioned>,
        number: u64,
    ) -> Result<Prepared, Error> {
        let folder = self.work.join(format!("{}-{number}", spec.name));
        let into = folder.join("in");
        fs::create_dir_all(&into).map_err(Error::io("make", &into))?;
        let (mut inputs, mut lent) = (BTreeMap::new(), Vec::new());
        for (link, ending) in &given.links {
            let place = into.join(format!("{}{ending}", link.name));
            lent.push(self.platform.store().objects().lend(link.digest, link.mode(), &place)?);
            inputs.insert(link.name.clone(), place);
        }
        let values = self.params(declared);
        let nothing = BTreeMap::new();
        let values = Values { params: &values, inputs: &inputs, outputs: &nothing, matrix: None };
        let wrong = |error: substitute::SubstituteError| Error::Invalid {
            code: Code::ProjectInvalid,
            message: format!("app `{}`: {error}", spec.name),
        };
        let token = hex::encode(rand::random::<[u8; 32]>());
        let command = match &spec.what {
            What::Files(text) => {
                let text = substitute::text(text, &values).map_err(wrong)?;
                let target = Target::files(self.platform.root(), &folder, Path::new(&text))?;
                let (text, environment, mask) = (String::new(), None, Stream::default());
                return Ok(Prepared { command: None, text, environment, target, token, folder, lent, mask });
            }
            What::Command(command) => command,
        };
        let target = if spec.socket {
            Target::Unix(self.sockets.folder.join(socket_name(&spec.name, number)))
        } else {
            Target::Tcp(free_port()?)
        };
        let (port, socket) = match &target {
            Target::Tcp(address) => (Some(address.port()), None),
            Target::Unix(path) => (None, Some(path.to_string_lossy().into_owned())),
            Target::Files { .. } => (None, None),
        };
        let command = placed(command, port, socket.as_deref(), &spec.base);
        let text = shell::command(&command, &values).map_err(wrong)?;
        let file = folder.join("step.json");
        let step = json!({
            "project": self.platform.project().name,
            "app": spec.name,
            "path": spec.base,
            "params": values.params,
            "inputs": inputs,
            "versions": given.versions,
        });
        let bytes = serde_json::to_vec_pretty(&step).unwrap_or_default();
        fs::write(&file, bytes).map_err(Error::io("write", &file))?;
        let mut variables = self.variables(&values, given, environment);
        let secrets = params::secrets(declared.packaged.as_ref(), &self.platform.config().environment);
        let missing =
            |why| Error::Invalid { code: Code::ValueInvalid, message: format!("app `{}`: {why}", spec.name) };
        let secrets = secrets.map_err(missing)?;
        let mask = Stream::from(Mask::new(&secrets));
        variables.extend(secrets.into_iter().map(|(name, value)| (params::variable(&name), value)));
        let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
        set("RONDO_STEP_FILE", file.to_string_lossy().into_owned());
        set("RONDO_APP", spec.name.clone());
        set("RONDO_APP_TOKEN", token.clone());
        set("RONDO_BASE_PATH", spec.base.clone());
        if let Some(port) = port {
            set("PORT", port.to_string());
        }
        if let Some(socket) = socket {
            set("RONDO_APP_SOCKET", socket);
        }
        let command = Command {
            program: find_program("sh", search_path(&variables)).unwrap_or_else(|| "/bin/sh".into()),
            arguments: vec!["-c".into(), text.clone().into()],
            folder: self.place(declared, &folder)?,
            mark: Some(format!("RONDO_STEP_FILE={}", file.display())),
            variables,
        };
        let (command, environment) = (Some(command), declared.environment.clone());
        Ok(Prepared { command, text, environment, target, token, folder, lent, mask })
    }

    /// Where the command runs: the project, or a copy of the package that it is from.
    fn place(&self, declared: &Declared, folder: &Path) -> Result<PathBuf, Error> {
        let packaged = declared.packaged.as_ref().filter(|packaged| !packaged.folder.as_os_str().is_empty());
        let Some(packaged) = packaged else { return Ok(self.platform.root().to_owned()) };
        let copy = folder.join("package");
        folder::lay_out(&self.platform.root().join(&packaged.folder), &copy)?;
        Ok(copy)
    }

    /// The parameters that reach it: its package's, or those of the project that it names.
    fn params(&self, declared: &Declared) -> BTreeMap<String, Value> {
        let project = self.platform.project().params.iter();
        let project: BTreeMap<String, Value> =
            project.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        if let Some(packaged) = &declared.packaged {
            let values = params::of(packaged, &project, &BTreeMap::new());
            return params::placed(Some(packaged), &values, self.platform.root());
        }
        let texts = declared.run.iter().chain(&declared.files);
        let named: Vec<String> = texts.flat_map(|text| substitute::names(text, Scope::Params)).collect();
        project.into_iter().filter(|(name, _)| named.contains(name)).collect()
    }

    fn variables(
        &self,
        values: &Values<'_>,
        given: &Given,
        environment: Option<&Provisioned>,
    ) -> BTreeMap<String, String> {
        let mut variables = base_variables(&self.platform.config().environment);
        OF_STEPS.iter().for_each(|name| drop(variables.remove(*name)));
        if let Some(environment) = environment {
            if let Some(bin) = &environment.bin {
                let path = format!("{}:{}", bin.display(), search_path(&variables));
                variables.insert("PATH".to_owned(), path);
            }
            variables.extend(environment.variables.clone());
        }
        variables.insert("MLFLOW_TRACKING_URI".to_owned(), self.url.clone());
        let project = self.platform.project().name.clone();
        variables.insert("MLFLOW_EXPERIMENT_NAME".to_owned(), project);
        for (name, value) in values.params {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            variables.insert(format!("RONDO_PARAM_{}", variable(name)), text);
        }
        for (name, path) in values.inputs {
            let path = path.to_string_lossy().into_owned();
            variables.insert(format!("RONDO_INPUT_{}", variable(name)), path);
        }
        for (name, version) in &given.versions {
            variables.insert(format!("RONDO_INPUT_{}_VERSION", variable(name)), version.to_string());
        }
        variables
    }
}

/// What the socket of an app's process is called: short whatever the app is called, and no other app's.
fn socket_name(name: &str, number: u64) -> String {
    let digest = Digest::of(name.as_bytes()).hex();
    format!("{}-{number}", digest.get(..16).unwrap_or(&digest))
}

/// A port that nobody listens on. Somebody may before the process does: then it does not become ready, or
/// what answers is not ours, which is looked at.
fn free_port() -> Result<SocketAddr, Error> {
    let place = Path::new("127.0.0.1:0");
    let listener =
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("listen on", place))?;
    listener.local_addr().map_err(Error::io("listen on", place))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{OLD, OWNER, PREFIX, fs, socket_name, sweep};

    #[test]
    fn folders_of_sockets_go_when_nobody_holds_them() {
        let within = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let folder = within.path().join(format!("{PREFIX}{name}"));
            fs::create_dir(&folder).unwrap();
            folder
        };
        let (held, left, unheld) = (made("held"), made("left"), made("unheld"));
        let owner = fs::File::create(held.join(OWNER)).unwrap();
        owner.lock().unwrap();
        fs::write(left.join(OWNER), "").unwrap();
        let other = within.path().join("other");
        fs::create_dir(&other).unwrap();
        std::os::unix::fs::symlink(&other, within.path().join(format!("{PREFIX}link"))).unwrap();
        sweep(within.path(), OLD);
        assert!(left.exists() && unheld.exists(), "whoever made them may be about to lock them");
        sweep(within.path(), Duration::ZERO);
        assert!(held.exists() && other.exists() && !left.exists() && !unheld.exists());
    }

    #[test]
    fn sockets_of_apps_whose_names_begin_alike_are_not_the_same() {
        let (one, other) = ("a-dashboard-of-sales-north", "a-dashboard-of-sales-south");
        assert_ne!(socket_name(one, 1), socket_name(other, 1));
        assert_ne!(socket_name(one, 1), socket_name(one, 2));
        assert_eq!(socket_name(one, 1), socket_name(one, 1));
        assert!(socket_name(&"x".repeat(200), 12).len() < 30);
    }
}
