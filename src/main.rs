//! Arguments to a command, a command to an exit code.
#![deny(unsafe_code)]

fn main() -> std::process::ExitCode {
    tawon::cli::main().into()
}
