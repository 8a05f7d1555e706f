//! The `rondo` binary: everything is in the library beside it.

fn main() -> std::process::ExitCode {
    rondo::cli::main()
}
