//! The `rondo` binary: everything is in the library beside it.

/// Requests make many short-lived strings, which this allocator serves with less work than the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rondo::cli::main()
}
