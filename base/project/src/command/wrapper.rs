//! The words before a command that only say how it is run: assignments, the shell's own words, and programs
//! that start another one with its arguments.

use super::options::{Behind, Options, is_option};
use super::words::is_assignment;

/// The shell's own words that a command may follow.
const KEYWORDS: [&str; 9] = ["if", "then", "elif", "else", "while", "until", "do", "!", "{"];

/// A program that starts the command behind its options and operands.
struct Wrapper {
    /// Its name; with the verb behind which it does so, as in `uv run`.
    name: &'static str,
    options: Options,
    /// How many words that are no options stand before the command.
    operands: usize,
}

const PLAIN: Wrapper = Wrapper { name: "nohup", options: Options { valued: "", instead: "" }, operands: 0 };

const CONDA: Wrapper = Wrapper {
    name: "conda run",
    options: Options { valued: "-n -p --name --prefix", instead: "--cwd" },
    ..PLAIN
};

const MPI: Wrapper = Wrapper {
    name: "mpirun",
    options: Options {
        valued: "-n -np -c -N -H -x -host -hostfile -machinefile --np --host --hostfile --machinefile \
            --map-by --bind-to",
        instead: "-wd -wdir --wd --wdir",
    },
    ..PLAIN
};

const WRAPPERS: [Wrapper; 30] = [
    PLAIN,
    Wrapper { name: "setsid", ..PLAIN },
    Wrapper { name: "catchsegv", ..PLAIN },
    Wrapper { name: "unbuffer", ..PLAIN },
    Wrapper { name: "poetry run", ..PLAIN },
    Wrapper { name: "pipenv run", ..PLAIN },
    CONDA,
    Wrapper { name: "mamba run", ..CONDA },
    Wrapper { name: "micromamba run", ..CONDA },
    MPI,
    Wrapper { name: "mpiexec", ..MPI },
    Wrapper { name: "command", options: Options { valued: "", instead: "-v -V" }, ..PLAIN },
    Wrapper { name: "exec", options: Options { valued: "-a", instead: "" }, ..PLAIN },
    Wrapper { name: "time", options: Options { valued: "-f -o --format --output", instead: "" }, ..PLAIN },
    Wrapper {
        name: "env",
        options: Options { valued: "-u --unset", instead: "-C -S --chdir --split-string" },
        ..PLAIN
    },
    Wrapper { name: "nice", options: Options { valued: "-n --adjustment", instead: "" }, ..PLAIN },
    Wrapper {
        name: "ionice",
        options: Options { valued: "-c -n --class --classdata", instead: "-p -P -u --pid --pgid --uid" },
        ..PLAIN
    },
    Wrapper {
        name: "chrt",
        options: Options {
            valued: "-T -P -D --sched-runtime --sched-period --sched-deadline",
            instead: "-p -m --pid --max",
        },
        operands: 1,
    },
    Wrapper { name: "taskset", options: Options { valued: "", instead: "-p --pid" }, operands: 1 },
    Wrapper {
        name: "numactl",
        options: Options {
            valued: "-i -N -C -m -p --interleave --cpunodebind --physcpubind --membind --preferred",
            instead: "-s -H --show --hardware",
        },
        ..PLAIN
    },
    Wrapper {
        name: "stdbuf",
        options: Options { valued: "-i -o -e --input --output --error", instead: "" },
        ..PLAIN
    },
    Wrapper {
        name: "timeout",
        options: Options { valued: "-k -s --kill-after --signal", instead: "" },
        operands: 1,
    },
    Wrapper {
        name: "flock",
        options: Options { valued: "-w -E --timeout --wait --conflict-exit-code", instead: "-c --command" },
        operands: 1,
    },
    Wrapper {
        name: "sudo",
        options: Options {
            valued: "-u -g -h -p -C -T -r -t --user --group --host --prompt --close-from \
                --command-timeout --role --type",
            instead: "-i -e -l -v -D -R --login --edit --list --chdir --chroot",
        },
        ..PLAIN
    },
    Wrapper { name: "doas", options: Options { valued: "-u", instead: "-s -C" }, ..PLAIN },
    Wrapper {
        name: "systemd-run",
        options: Options {
            valued: "-p -u -E -M -H --property --unit --slice --description --uid --gid --nice --setenv \
                --machine --host",
            instead: "-S --shell --working-directory",
        },
        ..PLAIN
    },
    Wrapper {
        name: "srun",
        options: Options {
            valued: "-A -c -C -d -e -G -i -J -m -M -n -N -o -p -q -t -w -x --account --constraint \
                --cpus-per-gpu --cpus-per-task --dependency --error --exclude --export --gpus \
                --gpus-per-node --gpus-per-task --gres --input --job-name --mem --mem-per-cpu \
                --mem-per-gpu --mpi --nodelist --nodes --ntasks --ntasks-per-node --output \
                --partition --qos --time",
            instead: "-D --chdir",
        },
        ..PLAIN
    },
    Wrapper {
        name: "xvfb-run",
        options: Options {
            valued: "-n -s -e -f -p -w --server-num --server-args --error-file --auth-file \
                --xauth-protocol --wait",
            instead: "",
        },
        ..PLAIN
    },
    Wrapper {
        name: "uv run",
        options: Options {
            valued: "-p --python --with --with-editable --with-requirements --extra --group --only-group \
                --env-file --project --package",
            instead: "-m --module --directory",
        },
        ..PLAIN
    },
    Wrapper {
        name: "pixi run",
        options: Options { valued: "-e --environment --manifest-path", instead: "" },
        ..PLAIN
    },
];

/// The words of a simple command from the program that it is about; none where that is not sure.
pub fn unwrapped(words: &[Option<String>]) -> &[Option<String>] {
    let mut words = words;
    while let Some((Some(word), behind)) = words.split_first() {
        if is_assignment(word) || KEYWORDS.contains(&word.as_str()) {
            words = behind;
            continue;
        }
        let program = word.rsplit('/').next().unwrap_or_default();
        let verb = behind.first().and_then(Option::as_deref);
        let is_named = |wrapper: &&Wrapper| match wrapper.name.split_once(' ') {
            Some((name, wanted)) => name == program && verb == Some(wanted),
            None => wrapper.name == program,
        };
        let Some(wrapper) = WRAPPERS.iter().find(is_named) else { break };
        words = wrapper.command(words);
    }
    words
}

impl Wrapper {
    /// The command that it starts.
    fn command<'a>(&self, words: &'a [Option<String>]) -> &'a [Option<String>] {
        let skipped = |words: &'a [Option<String>], count| words.get(count..).unwrap_or_default();
        let mut words = skipped(words, self.name.split(' ').count());
        while let Some(Some(option)) = words.first().filter(|word| word.as_deref().is_some_and(is_option)) {
            words = match self.options.behind(option) {
                Behind::Argument => skipped(words, 1),
                Behind::Value => skipped(words, 2),
                Behind::Nothing => return &[],
            };
        }
        skipped(words, self.operands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(command: &str) -> String {
        let words: Vec<_> = command.split(' ').map(|word| Some(word.to_owned())).collect();
        unwrapped(&words).iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_command_stands_behind_options_and_operands() {
        for before in [
            "A=1 B=2",
            "if ! time -p",
            "timeout 60",
            "timeout -k 5 60",
            "timeout --signal=KILL --kill-after 5 2h",
            "/usr/bin/timeout -vk 5 60 nice -n 5",
            "sudo",
            "sudo -E",
            "sudo -u me -E A=1",
            "sudo -Eu me --",
            "nohup",
            "setsid -w",
            "stdbuf -oL -e 0",
            "nice -5",
            "ionice -c3",
            "ionice -c 2 -n 7",
            "taskset -c 0",
            "taskset 0x3",
            "chrt 5",
            "chrt -b 0",
            "chrt -f 99",
            "numactl -N 0 --membind=0",
            "flock l",
            "flock -n -w 5 l",
            "systemd-run --user --scope -p MemoryMax=2G",
            "systemd-run --scope -pMemoryMax=2G --slice ml.slice",
            "srun",
            "srun -N1 -n 4 --gres=gpu:1 --partition gpu",
            "mpirun -np 4 -x A",
            "xvfb-run -a",
            "xvfb-run --server-args 1 -n 9",
            "catchsegv",
            "unbuffer -p",
            "env -i -u A B=1",
            "uv run --with rich",
            "conda run -n e --live-stream",
            "timeout 60 sudo -u me nice -n 5 flock -x l stdbuf -oL",
        ] {
            assert_eq!(shown(&format!("{before} python t.py -k 1")), "python t.py -k 1", "{before}");
        }
    }

    #[test]
    fn what_runs_elsewhere_or_something_else_is_not_sure() {
        for before in [
            "env -C x",
            "env --chdir=x",
            "sudo -i",
            "srun -D x",
            "uv run --directory x",
            "taskset -p",
            "command -v",
        ] {
            assert_eq!(shown(&format!("{before} python t.py")), "", "{before}");
        }
        assert_eq!(shown("uv python t.py"), "uv python t.py");
        assert_eq!(shown("timeout"), "");
    }

    #[test]
    fn what_the_shell_puts_in_counts_as_one_word() {
        let words = |list: &[&str]| -> Vec<Option<String>> {
            list.iter().map(|word| (*word != "?").then(|| (*word).to_owned())).collect()
        };
        let command = words(&["timeout", "?", "nice", "-n", "?", "python"]);
        assert_eq!(unwrapped(&command), words(&["python"]));
        assert_eq!(unwrapped(&words(&["timeout", "?"])), words(&[]));
        assert_eq!(unwrapped(&words(&["?", "python"])), words(&["?", "python"]));
    }
}
