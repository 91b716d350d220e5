//! Iterator programs: the kernel walks its own tables and writes what the program tells.

use std::io::Read;

use libbpf_rs::{Iter, MapHandle, ProgramMut};
use std::os::fd::AsFd;

/// Attaches an iterator program, reads it to its end and detaches it.
pub fn run(program: &ProgramMut<'_>, map: Option<MapHandle>) -> Result<Vec<u8>, String> {
    let link = match &map {
        Some(map) => program.attach_iter(map.as_fd()),
        None => program.attach_iter_with_opts(libbpf_rs::IterOpts::None),
    }
    .map_err(|error| error.to_string())?;
    let mut iter = Iter::new(&link).map_err(|error| error.to_string())?;
    let mut told = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match iter.read(&mut buffer) {
            Ok(0) => return Ok(told),
            Ok(read) => told.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}
